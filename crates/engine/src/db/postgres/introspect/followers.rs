//! What hangs on a column and is written into the catalog only: policies,
//! triggers, rules, extended statistics, views, functions, publications,
//! sequences and the identity. It follows the column in the cutover itself.
//!
//! The texts that make these things are read with the schemas of the table and
//! of its views in the search path, where PostgreSQL writes their names without
//! a schema; what would be found under such a name in front of it is written
//! with one.
//! The temporary copy bears the same name, and temporary things are found
//! first: so the same text makes the same thing on the copy, and, read back
//! after the copy's column was renamed, is what the cutover says.

use std::collections::BTreeMap;

use pontoon_core::catalog::{
    DependentKind, Filled, Follower, Identity, Index, MovedIdentity, ServerMessage, Tried,
};
use pontoon_core::name::TableName;
use pontoon_core::sql::quote::{
    dollar_quote, quote_ident, quote_list, quote_literal, quote_qualified, quote_table,
};
use serde::Deserialize;
use tokio_postgres::types::{ToSql, Type};

use super::functions::Functions;
use super::materialized::Materialized;
use super::replacements::{DOING, Trial};
use super::{InspectError, rows, server};

/// As in `sql/followers.sql`.
#[derive(Debug, Deserialize)]
struct Found {
    kind: String,
    name: String,
    schema: Option<String>,
    /// A view's query.
    made: Option<String>,
    /// A view's options.
    options: Option<String>,
    after: Vec<String>,
    gone: Vec<String>,
    refused: Option<String>,
    oid: u32,
    /// It hangs on the column itself, and not only on one that is replaced
    /// together with it.
    own: bool,
    /// The name of ours under which it is made before the cutover.
    copy: Option<String>,
    /// A materialized view's access method.
    method: Option<String>,
    /// Its tablespace, when it is not the database's.
    tablespace: Option<String>,
    /// See [`state`].
    #[serde(skip)]
    state: Option<String>,
    /// What it has beside its query, when it is a materialized view.
    #[serde(skip)]
    materialized: Option<Materialized>,
}

/// As in `sql/published.sql`.
#[derive(Debug, Deserialize)]
struct Published {
    name: String,
    columns: Option<String>,
    filter: Option<String>,
    ours: bool,
}

/// As in `sql/identity.sql`.
#[derive(Debug, Deserialize)]
struct Counted {
    always: bool,
    options: String,
    noted: String,
    made: Vec<String>,
}

/// What was found before the copy was made.
#[derive(Debug)]
pub(super) struct Followers {
    found: Vec<Found>,
    published: Vec<Published>,
    counted: Option<Counted>,
    /// By kind and name.
    texts: BTreeMap<(String, String), String>,
    /// What came of each attempt on the copy, in the order of `found`, then
    /// of `published`.
    tried: Vec<Result<(), ServerMessage>>,
    identity: Result<(), ServerMessage>,
    /// Statistics over the second column.
    statistics: BTreeMap<(String, String), String>,
    functions: Functions,
    /// Queries over the second column, by the oid of the view.
    copies: BTreeMap<u32, String>,
    /// The indexes of materialized views, likewise.
    built: BTreeMap<u32, Vec<Index>>,
    /// Where names without a schema are looked up, after `pg_catalog`: the
    /// schema of the table, then those of its views.
    schemas: Vec<String>,
}

impl Trial<'_> {
    /// Before the copy is made: the search path finds the table itself.
    pub(super) async fn followers(&self) -> Result<Followers, InspectError> {
        let oid = [self.table.oid];
        let oid: &(dyn ToSql + Sync) = &oid[0];
        let column: &(dyn ToSql + Sync) = &self.replacing.column;
        let mut schemas = vec![self.table.name.schema.clone()];
        for other in self.others() {
            let schema = Some(other.schema.clone());
            schemas.extend(schema.filter(|name| !schemas.contains(name)));
        }
        self.find_ours(&schemas).await?;
        let mut found = self.found().await?;
        for found in found.iter().filter(|found| found.is_view()) {
            schemas.extend(found.schema.clone().filter(|name| !schemas.contains(name)));
        }
        if schemas.len() > 1 {
            self.find_ours(&schemas).await?;
            found = self.found().await?;
        }
        for found in &mut found {
            if let Some(sql) = state(&found.kind, found.oid) {
                found.state = self.one(&sql).await?;
            }
            if found.kind == MATERIALIZED {
                found.materialized = Some(self.materialized(found.oid).await?);
            }
        }
        let published = match self.catalog.server.version {
            150_000.. => {
                let last: &(dyn ToSql + Sync) = &self.replacing.last;
                let values = [(oid, Type::OID), (column, Type::TEXT), (last, Type::TEXT)];
                self.rows(include_str!("sql/published.sql"), &values)
                    .await?
            }
            _ => Vec::new(),
        };
        let note = format!("pontoon.{}identity", self.replacing.ours);
        let values = [
            (oid, Type::OID),
            (column, Type::TEXT),
            (&note as &(dyn ToSql + Sync), Type::TEXT),
            (&self.replacing.last, Type::TEXT),
        ];
        let counted = self.rows(include_str!("sql/identity.sql"), &values).await?;
        let texts = self.written(self.table.oid).await?;
        let views = found.iter().filter(|found| found.is_view() && found.own);
        let views: Vec<u32> = views.map(|found| found.oid).collect();
        Ok(Followers {
            found,
            published,
            counted: counted.into_iter().next(),
            texts,
            tried: Vec::new(),
            identity: Ok(()),
            statistics: BTreeMap::new(),
            functions: self.functions(&views, &schemas).await?,
            copies: BTreeMap::new(),
            built: BTreeMap::new(),
            schemas,
        })
    }

    async fn found(&self) -> Result<Vec<Found>, InspectError> {
        let along = self.replacing.along.iter();
        let (tables, columns): (Vec<u32>, Vec<&str>) = along
            .filter_map(|along| Some((self.catalog.tables.get(&along.table)?, along)))
            .map(|(table, along)| (table.oid, along.column.as_str()))
            .unzip();
        self.rows(
            include_str!("sql/followers.sql"),
            &[
                (&self.table.oid, Type::OID),
                (&self.replacing.column, Type::TEXT),
                (&self.replacing.ours, Type::TEXT),
                (&self.replacing.second, Type::TEXT),
                (&self.replacing.to, Type::TEXT),
                (&tables, Type::OID_ARRAY),
                (&columns, Type::TEXT_ARRAY),
            ],
        )
        .await
    }

    /// Names without a schema are found in these, among the temporary ones first.
    pub(super) async fn find_ours(&self, schemas: &[String]) -> Result<(), InspectError> {
        self.run(&find(schemas)).await
    }

    pub(super) async fn rows<T: serde::de::DeserializeOwned>(
        &self,
        sql: &str,
        values: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<T>, InspectError> {
        let rows = self.client.query_typed(sql, values).await;
        rows::decode("what hangs on a column", rows.map_err(server(DOING))?)
    }

    /// One text, when there is one.
    pub(super) async fn one(&self, sql: &str) -> Result<Option<String>, InspectError> {
        let rows = self.client.query_typed(sql, &[]).await;
        let rows = rows.map_err(server(DOING))?;
        Ok(rows.first().and_then(|row| row.get(0)))
    }

    /// A statement that fails when something hangs on the column that was not
    /// there when the plan was compiled: it would go with the column.
    pub(super) async fn unchanged(&self, column: &str) -> Result<String, InspectError> {
        let sql = include_str!("sql/hung.sql");
        let values: [(&(dyn ToSql + Sync), Type); 2] =
            [(&self.table.oid, Type::OID), (&column, Type::TEXT)];
        let rows = self.client.query_typed(sql, &values).await;
        let known: Vec<String> = rows
            .map_err(server(DOING))?
            .iter()
            .map(|row| quote_literal(&row.get::<_, String>(0)))
            .collect();
        let table = quote_table(&self.table.name);
        let sql = sql
            .replace("$1", &format!("{}::regclass", quote_literal(&table)))
            .replace("$2", &quote_literal(column));
        let added = format!(
            "SELECT string_agg(hung.identity, ', ') FROM ({sql}) AS hung WHERE hung.identity <> ALL (ARRAY[{}]::text[])",
            known.join(", ")
        );
        let what = format!("{table}.{}", quote_ident(column));
        let body = format!(
            "DECLARE added text := ({added}); BEGIN IF added IS NOT NULL THEN RAISE EXCEPTION USING ERRCODE = 'PT412', MESSAGE = {} || added, HINT = 'It would be lost. Drop it, or roll back and run the plan again.'; END IF; END",
            quote_literal(&format!("something new hangs on {what}: "))
        );
        Ok(format!("DO {}", dollar_quote("pontoon_hung", &body)))
    }

    async fn written(
        &self,
        table: u32,
    ) -> Result<BTreeMap<(String, String), String>, InspectError> {
        let sql = include_str!("sql/written_again.sql");
        let rows = self.client.query_typed(sql, &[(&table, Type::OID)]).await;
        let rows = rows.map_err(server(DOING))?;
        Ok(rows
            .iter()
            .map(|row| ((row.get(0), row.get(1)), row.get(2)))
            .collect())
    }

    /// Makes everything on the copy, which has the new type under the old name.
    pub(super) async fn try_followers(&self, all: &mut Followers) -> Result<(), InspectError> {
        self.find_ours(&all.schemas).await?;
        for found in &all.found {
            let text = all.texts.get(&(found.kind.clone(), found.name.clone()));
            let text = match (found.kind.as_str(), &found.made, text) {
                (_, _, _) if found.refused.is_some() => String::new(),
                ("view" | MATERIALIZED, Some(query), _) => {
                    format!(
                        "CREATE TEMPORARY VIEW {} AS\n{query}",
                        quote_ident(&found.name)
                    )
                }
                ("statistics", _, Some(text)) => format!(
                    "CREATE STATISTICS pg_temp.{} {text} FROM {}",
                    quote_ident(&found.name),
                    quote_table(&self.copy())
                ),
                (_, _, Some(text)) => text.clone(),
                _ => String::new(),
            };
            let mut tried = self.attempt(&text).await?;
            if let (Ok(()), None, Some(kept)) = (&tried, &found.refused, &found.materialized) {
                tried = self.try_materialized(&found.name, found.oid, kept).await?;
            }
            all.tried.push(tried);
        }
        self.try_functions(&mut all.functions).await?;
        for (number, published) in all.published.iter().enumerate() {
            let text = published
                .filter
                .as_ref()
                .map_or_else(String::new, |filter| {
                    format!(
                        "ALTER TABLE {} ADD CONSTRAINT pontoon_filter_{number} CHECK ({filter})",
                        quote_table(&self.copy())
                    )
                });
            all.tried.push(self.attempt(&text).await?);
        }
        if let Some(counted) = &all.counted {
            let (copy, column) = (
                quote_table(&self.copy()),
                quote_ident(&self.replacing.column),
            );
            let text = format!(
                "SAVEPOINT pontoon_identity;
                 ALTER TABLE {copy} ALTER COLUMN {column} SET NOT NULL;
                 ALTER TABLE {copy} ALTER COLUMN {column} ADD GENERATED ALWAYS AS IDENTITY ({});
                 ROLLBACK TO SAVEPOINT pontoon_identity",
                counted.options
            );
            all.identity = self.attempt(&text).await?;
        }
        self.run("SET LOCAL search_path = pg_catalog").await
    }

    /// Once the copy's column bears the second name.
    pub(super) async fn read_statistics(&self, all: &mut Followers) -> Result<(), InspectError> {
        all.statistics = self.written(self.oid().await?[0]).await?;
        Ok(())
    }

    /// Once the copy's column bears the second name: what is made over it bears
    /// names of ours, too.
    pub(super) async fn read_copies(&self, all: &mut Followers) -> Result<(), InspectError> {
        self.find_ours(&all.schemas).await?;
        let made = all.found.iter().zip(&all.tried);
        let made: Vec<(&Found, &String)> = made
            .filter(|(found, tried)| tried.is_ok() && found.refused.is_none())
            .filter_map(|(found, _)| Some((found, found.copy.as_ref()?)))
            .collect();
        let rename = async |from: &str, to: &str| {
            let view = quote_qualified("pg_temp", from);
            let text = format!("ALTER VIEW {view} RENAME TO {}", quote_ident(to));
            self.run(&text).await
        };
        for (found, copy) in &made {
            rename(&found.name, copy).await?;
        }
        for (found, copy) in &made {
            all.copies.insert(found.oid, self.view(copy).await?);
            if let Some(kept) = &found.materialized {
                let built = self.built(found.oid, kept).await?;
                all.built.insert(found.oid, built);
            }
        }
        for (found, copy) in &made {
            rename(copy, &found.name).await?;
        }
        self.run("SET LOCAL search_path = pg_catalog").await
    }

    /// Once the copy's column bears its last name.
    pub(super) async fn read_followers(
        &self,
        mut all: Followers,
    ) -> Result<(Vec<Tried<Follower>>, Option<Tried<MovedIdentity>>), InspectError> {
        let schemas = std::mem::take(&mut all.schemas);
        self.find_ours(&schemas).await?;
        let texts = self.written(self.oid().await?[0]).await?;
        let mut followers = Vec::new();
        let filters = all.tried.split_off(all.found.len());
        for (mut found, tried) in std::mem::take(&mut all.found).into_iter().zip(all.tried) {
            if let (Some(kept), Some(built)) =
                (&mut found.materialized, all.built.remove(&found.oid))
            {
                kept.built = built;
            }
            let key = (found.kind.clone(), found.name.clone());
            let text = match found.kind.as_str() {
                "statistics" => all.statistics.get(&key).cloned(),
                _ if found.copy.is_some() => all.copies.remove(&found.oid),
                "view" if tried.is_ok() && found.refused.is_none() => {
                    Some(self.view(&found.name).await?)
                }
                _ => texts.get(&key).cloned(),
            };
            let text = text.unwrap_or_default();
            if found.own {
                followers.push(self.follower(found, tried, &text, &schemas));
            }
        }
        let functions = std::mem::take(&mut all.functions);
        followers.extend(self.read_functions(functions, &schemas).await?);
        for (number, (published, tried)) in all.published.iter().zip(filters).enumerate() {
            let filter = texts.get(&("filter".to_owned(), format!("pontoon_filter_{number}")));
            followers.push(publication(&self.table.name, published, tried, filter));
        }
        let identity = all
            .counted
            .as_ref()
            .map(|counted| identity(counted, all.identity));
        Ok((followers, identity))
    }

    async fn view(&self, name: &str) -> Result<String, InspectError> {
        let view = quote_qualified("pg_temp", name);
        let sql = "SELECT pg_catalog.pg_get_viewdef($1::text::pg_catalog.regclass)";
        let rows = self.client.query_typed(sql, &[(&view, Type::TEXT)]).await;
        let rows = rows.map_err(server(DOING))?;
        Ok(rows.first().map(|row| row.get(0)).unwrap_or_default())
    }

    /// A statement that fails when this is no longer what it was when the plan
    /// was compiled: what somebody has changed since would be lost.
    fn same(&self, found: &Found) -> Vec<String> {
        let Some(sql) = state(&found.kind, found.oid) else {
            return Vec::new();
        };
        let state = found.state.as_deref().unwrap_or_default();
        vec![must_be(
            &sql,
            &quote_literal(state),
            &format!(
                "{} {}, which hangs on {}, was changed during the run",
                found.kind, found.name, self.table.name
            ),
        )]
    }

    /// The statements by which something follows the column.
    fn follower(
        &self,
        found: Found,
        tried: Result<(), ServerMessage>,
        text: &str,
        schemas: &[String],
    ) -> Tried<Follower> {
        let schema = found.schema.clone().unwrap_or_default();
        let full = format!("{schema}.{}", found.name);
        let none = Vec::new;
        let path = |statements: Vec<String>| finding(schemas, statements);
        let made = |text: String| [vec![text], found.after.clone()].concat();
        let mut follower = Follower {
            kinds: Vec::new(),
            name: found.name.clone(),
            what: format!("{} {}", found.kind, found.name),
            relation: None,
            everywhere: found.is_view(),
            filled: None,
            before: none(),
            undo: none(),
            gone: none(),
            made: none(),
        };
        match found.kind.as_str() {
            "policy" | "trigger" | "rule" => {
                follower.kinds = match found.kind.as_str() {
                    "policy" => vec![DependentKind::Policy],
                    "rule" => vec![DependentKind::Rule],
                    _ => vec![DependentKind::TriggerColumns, DependentKind::TriggerWhen],
                };
                if found.kind == "rule" {
                    follower.name = format!("{} on {}", found.name, self.table.name);
                }
                follower.gone = path([self.same(&found), found.gone.clone()].concat());
                follower.made = path(made(text.trim_end_matches(';').to_owned()));
            }
            "statistics" => {
                let ours = format!("{}{}", self.replacing.ours, found.name);
                follower.kinds = vec![DependentKind::ExtendedStatistics];
                follower.name = full;
                follower.before = path(made(format!(
                    "CREATE STATISTICS {} {text} FROM {}",
                    quote_qualified(&schema, &ours),
                    quote_table(&self.table.name)
                )));
                follower.undo = vec![format!(
                    "DROP STATISTICS {}",
                    quote_qualified(&schema, &ours)
                )];
                follower.made = vec![format!(
                    "ALTER STATISTICS {} RENAME TO {}",
                    quote_qualified(&schema, &ours),
                    quote_ident(&found.name)
                )];
            }
            "sequence" => {
                follower.kinds = vec![DependentKind::OwnedSequence];
                follower.name = full;
                follower.gone = path(found.after.clone());
            }
            _ => self.view_follows(&mut follower, &found, text, schemas),
        }
        let result = match found.refused {
            Some(reason) => Err(refusal(reason)),
            None => tried.map(|()| follower.clone()),
        };
        Tried {
            name: follower.what,
            result,
        }
    }
}

impl Found {
    fn is_view(&self) -> bool {
        self.kind.ends_with("view")
    }
}

fn find(schemas: &[String]) -> String {
    format!(
        "SET LOCAL search_path = pg_catalog, {}",
        quote_list(schemas.iter().map(String::as_str))
    )
}

/// Statements whose names without a schema are found in these.
pub(super) fn finding(schemas: &[String], statements: Vec<String>) -> Vec<String> {
    let back = "SET LOCAL search_path = pg_catalog, pg_temp".to_owned();
    [vec![find(schemas)], statements, vec![back]].concat()
}

/// A statement that fails when a query does not give this any more: what
/// somebody has changed since the plan was compiled would be lost.
pub(super) fn must_be(query: &str, value: &str, otherwise: &str) -> String {
    let body = format!(
        "BEGIN IF ({query}) IS DISTINCT FROM {value} THEN RAISE EXCEPTION USING ERRCODE = 'PT412', MESSAGE = {}, HINT = 'The change would be lost. Take it back, or roll back and run the plan again.'; END IF; END",
        quote_literal(otherwise)
    );
    format!("DO {}", dollar_quote("pontoon_same", &body))
}

/// What a materialized view is called.
const MATERIALIZED: &str = "materialized view";

impl Trial<'_> {
    /// A view is dropped and made again in the cutover. One that is filled
    /// beforehand, or through which such a one is filled, is made beforehand, too.
    fn view_follows(&self, follower: &mut Follower, found: &Found, text: &str, schemas: &[String]) {
        let schema = found.schema.clone().unwrap_or_default();
        let kept = found.materialized.as_ref();
        follower.kinds = vec![match kept {
            None => DependentKind::View,
            Some(_) => DependentKind::MaterializedView,
        }];
        follower.name = format!("{schema}.{}", found.name);
        follower.what = format!("{} {}", found.kind, follower.name);
        follower.relation = Some(TableName::new(&schema, &found.name));
        follower.gone = finding(schemas, [self.same(found), found.gone.clone()].concat());
        let word = found.kind.to_uppercase();
        let called = found.copy.as_ref().unwrap_or(&found.name);
        let view = TableName::new(&schema, called);
        let options = found.options.as_ref();
        let with = options.map_or_else(String::new, |text| format!(" WITH ({text})"));
        let query = text.trim_end_matches(';');
        let mut made = match kept {
            None => vec![format!(
                "CREATE VIEW {}{with} AS\n{query}",
                quote_table(&view)
            )],
            Some(kept) => {
                let using = found.method.as_ref();
                let using =
                    using.map_or_else(String::new, |name| format!(" USING {}", quote_ident(name)));
                let at = found.tablespace.as_ref();
                let at = at.map_or_else(String::new, |name| {
                    format!(" TABLESPACE {}", quote_ident(name))
                });
                let create = format!(
                    "CREATE MATERIALIZED VIEW {}{using}{with}{at} AS\n{query}\nWITH NO DATA",
                    quote_table(&view)
                );
                let here = "SET LOCAL default_tablespace = ''".to_owned();
                [vec![here, create], kept.made(&view)].concat()
            }
        };
        made.extend(found.after.clone());
        if found.copy.is_none() {
            follower.made = finding(schemas, made);
            return;
        }
        follower.before = finding(schemas, made);
        follower.undo = vec![format!("DROP {word} {}", quote_table(&view))];
        follower.made = vec![format!(
            "ALTER {word} {} RENAME TO {}",
            quote_table(&view),
            quote_ident(&found.name)
        )];
        if let Some(kept) = kept {
            follower.made.extend(kept.named(&view));
            follower.filled = Some(Filled {
                view,
                schemas: schemas.to_vec(),
            });
        }
    }
}

/// The identity comes back with a new sequence of the old name and value.
fn identity(counted: &Counted, tried: Result<(), ServerMessage>) -> Tried<MovedIdentity> {
    Tried {
        name: "its identity".to_owned(),
        result: tried.map(|()| MovedIdentity {
            identity: match counted.always {
                true => Identity::Always,
                false => Identity::ByDefault,
            },
            noted: counted.noted.clone(),
            made: counted.made.clone(),
        }),
    }
}

fn publication(
    table: &TableName,
    published: &Published,
    tried: Result<(), ServerMessage>,
    filter: Option<&String>,
) -> Tried<Follower> {
    let name = quote_ident(&published.name);
    let table = quote_table(table);
    let columns = published.columns.as_deref().unwrap_or_default();
    let filter = filter.map_or_else(String::new, |text| format!(" WHERE ({text})"));
    let follower = Follower {
        kinds: vec![
            DependentKind::PublicationColumns,
            DependentKind::PublicationFilter,
        ],
        name: published.name.clone(),
        what: format!("publication {}", published.name),
        relation: None,
        everywhere: false,
        filled: None,
        before: Vec::new(),
        undo: Vec::new(),
        gone: vec![format!("ALTER PUBLICATION {name} DROP TABLE {table}")],
        made: vec![format!(
            "ALTER PUBLICATION {name} ADD TABLE {table}{columns}{filter}"
        )],
    };
    Tried {
        name: follower.what.clone(),
        result: match published.ours {
            true => tried.map(|()| follower),
            false => Err(refusal("it belongs to another role".to_owned())),
        },
    }
}

/// A query for everything of it that is made again, as one hash; with the search
/// path of [`Trial::followers`].
fn state(kind: &str, oid: u32) -> Option<String> {
    let (of, from) = match kind {
        "policy" => (
            "p.polname, p.polcmd, p.polpermissive, p.polroles, pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid), obj_description(p.oid, 'pg_policy')",
            "pg_policy p WHERE p.oid",
        ),
        "trigger" => (
            "pg_get_triggerdef(t.oid, true), t.tgenabled, obj_description(t.oid, 'pg_trigger')",
            "pg_trigger t WHERE t.oid",
        ),
        "rule" => (
            "pg_get_ruledef(w.oid, true), w.ev_enabled, obj_description(w.oid, 'pg_rewrite')",
            "pg_rewrite w WHERE w.oid",
        ),
        "view" => (
            "v.relname, v.relnamespace, pg_get_viewdef(v.oid), v.relowner, v.relacl, v.reloptions, obj_description(v.oid, 'pg_class'), (SELECT string_agg(concat_ws('|', a.attname, a.attacl, col_description(v.oid, a.attnum), a.atthasdef), '|' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = v.oid)",
            "pg_class v WHERE v.oid",
        ),
        // As its indexes are called, and not in the order of their oids: REINDEX
        // CONCURRENTLY gives them others.
        MATERIALIZED => (
            "v.relname, v.relnamespace, pg_get_viewdef(v.oid), v.relowner, v.relacl, v.reloptions, v.relam, v.reltablespace, obj_description(v.oid, 'pg_class'), (SELECT reloptions FROM pg_class WHERE oid = v.reltoastrelid), (SELECT string_agg(concat_ws('|', a.attname, a.attacl, col_description(v.oid, a.attnum), a.attstattarget, a.attstorage, a.attcompression, a.attoptions), '|' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = v.oid AND a.attnum > 0), (SELECT string_agg(concat_ws('|', c.relname, pg_get_indexdef(c.oid), i.indisclustered, i.indisvalid, obj_description(c.oid, 'pg_class'), (SELECT string_agg(k.attstattarget::text, ',' ORDER BY k.attnum) FROM pg_attribute k WHERE k.attrelid = c.oid)), '|' ORDER BY c.relname) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = v.oid)",
            "pg_class v WHERE v.oid",
        ),
        _ => return None,
    };
    Some(format!(
        "SELECT md5(concat_ws('|', {of})) FROM {from} = {oid}"
    ))
}

/// A reason of ours, which no code of the server tells.
pub(super) fn refusal(message: String) -> ServerMessage {
    ServerMessage {
        code: String::new(),
        message,
        hint: None,
    }
}
