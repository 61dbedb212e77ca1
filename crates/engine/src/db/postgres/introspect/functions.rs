//! Functions and procedures with an SQL body (BEGIN ATOMIC, RETURN) that read a
//! column, or a view over it: PostgreSQL knows what such a body reads, and does
//! not let it go.
//!
//! They are replaced and never dropped, so that their owner, rights, comment and
//! whatever calls them stay. In the cutover each first gets an empty body, which
//! reads nothing and which nobody sees; when the column and the views have their
//! names it gets its own again. A signature never changes, so bodies may call
//! each other in any order.

use pontoon_core::catalog::{DependentKind, Follower, ServerMessage, Tried};
use pontoon_core::sql::quote::{quote_ident, quote_literal};
use serde::Deserialize;
use tokio_postgres::types::Type;

use super::followers::{finding, must_be, refusal};
use super::replacements::{DOING, Trial};
use super::{InspectError, server};

/// As in `sql/functions.sql`.
#[derive(Debug, Deserialize)]
struct Found {
    oid: u32,
    /// `function` or `procedure`.
    kind: String,
    name: String,
    definition: String,
    head: String,
    body: String,
    refused: Option<String>,
    /// As among the dependents of a column.
    #[serde(skip)]
    signature: String,
}

/// What was found before the copy was made, and what came of each attempt.
#[derive(Debug, Default)]
pub(super) struct Functions {
    found: Vec<Found>,
    tried: Vec<Result<(), ServerMessage>>,
}

/// The text that makes it again without anything that it reads.
impl Found {
    fn empty(&self) -> Option<String> {
        let definition = self.definition.trim_end_matches('\n');
        let head = definition.strip_suffix(self.body.as_str())?;
        head.strip_prefix(self.head.as_str())?;
        Some(format!("{head}AS ''"))
    }

    /// The rest of a definition, behind its name.
    fn behind_name(&self) -> &str {
        let rest = self.definition.strip_prefix(self.head.as_str());
        rest.unwrap_or_default()
    }

    /// As in `CREATE …`.
    fn word(&self) -> &'static str {
        match self.kind.as_str() {
            "procedure" => "PROCEDURE",
            _ => "FUNCTION",
        }
    }
}

impl Trial<'_> {
    /// Before the copy is made. `views` follow the column themselves.
    pub(super) async fn functions(
        &self,
        views: &[u32],
        schemas: &[String],
    ) -> Result<Functions, InspectError> {
        self.find_ours(schemas).await?;
        let mut found: Vec<Found> = self
            .rows(
                include_str!("sql/functions.sql"),
                &[
                    (&self.table.oid, Type::OID),
                    (&self.replacing.column, Type::TEXT),
                    (&views, Type::OID_ARRAY),
                ],
            )
            .await?;
        // Names as the catalog has them do not depend on who looks.
        self.run("SET LOCAL search_path = pg_catalog").await?;
        for found in &mut found {
            let sql = format!("SELECT {}::pg_catalog.regprocedure::text", found.oid);
            found.signature = self.one(&sql).await?.unwrap_or_default();
        }
        Ok(Functions {
            found,
            tried: Vec::new(),
        })
    }

    /// Makes each among the temporary ones, where the copies of the table and of
    /// its views are found first; once with an empty body, too.
    pub(super) async fn try_functions(&self, all: &mut Functions) -> Result<(), InspectError> {
        for found in &all.found {
            if found.refused.is_some() {
                all.tried.push(Ok(()));
                continue;
            }
            let Some(empty) = found.empty() else {
                return Err(InspectError::Incomplete {
                    what: "the definition of a function",
                });
            };
            let name = format!("{} pg_temp.{}(", found.word(), quote_ident(&found.name));
            let empty = empty.strip_prefix(found.head.as_str()).unwrap_or_default();
            let text = format!(
                "SET LOCAL check_function_bodies = off; CREATE {name}{empty};
                 SET LOCAL check_function_bodies = on; CREATE OR REPLACE {name}{}",
                found.behind_name()
            );
            all.tried.push(self.attempt(&text).await?);
        }
        Ok(())
    }

    /// Once the copy's column bears its last name.
    pub(super) async fn read_functions(
        &self,
        all: Functions,
        schemas: &[String],
    ) -> Result<Vec<Tried<Follower>>, InspectError> {
        let mut followers = Vec::new();
        for (found, tried) in all.found.into_iter().zip(all.tried) {
            let what = format!("{} {}", found.kind, found.signature);
            let result = match (&found.refused, tried) {
                (Some(reason), _) => Err(refusal(reason.clone())),
                (None, Err(said)) => Err(said),
                (None, Ok(())) => match self.made(&found).await? {
                    Some(text) => Ok(self.function(&found, &what, &text, schemas)),
                    None => Err(refusal(
                        "its arguments or its result are of a type that is replaced".to_owned(),
                    )),
                },
            };
            followers.push(Tried { name: what, result });
        }
        Ok(followers)
    }

    /// The text that makes the real one, read from the temporary one. `None`:
    /// there is none of the same signature.
    async fn made(&self, found: &Found) -> Result<Option<String>, InspectError> {
        let rows = self
            .client
            .query_typed(
                "SELECT pg_get_functiondef(made.oid),
                        -- Before 15 under the schema's real name.
                        ARRAY[format('pg_temp.%I(', made.proname), format('%I.%I(', n.nspname, made.proname)]
                   FROM pg_proc old
                   JOIN pg_proc made ON made.proname = old.proname AND made.proargtypes = old.proargtypes
                                    AND made.prorettype = old.prorettype
                                    AND made.proallargtypes IS NOT DISTINCT FROM old.proallargtypes
                                    AND made.pronamespace = pg_my_temp_schema()
                   JOIN pg_namespace n ON n.oid = made.pronamespace
                  WHERE old.oid = $1",
                &[(&found.oid, Type::OID)],
            )
            .await
            .map_err(server(DOING))?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let text: String = row.get(0);
        let rest = row.get::<_, Vec<String>>(1).into_iter().find_map(|name| {
            text.strip_prefix(&format!("CREATE OR REPLACE {} {name}", found.word()))
        });
        match rest {
            Some(rest) => Ok(Some(format!("{}{}", found.head, rest.trim_end()))),
            None => Err(InspectError::Incomplete {
                what: "the definition of a function",
            }),
        }
    }

    fn function(&self, found: &Found, what: &str, text: &str, schemas: &[String]) -> Follower {
        let checked = |on: &str| format!("SET LOCAL check_function_bodies = {on}");
        let same = must_be(
            &format!(
                "SELECT md5(pg_get_functiondef(oid)) FROM pg_proc WHERE oid = {}",
                found.oid
            ),
            &format!("md5({})", quote_literal(&found.definition)),
            &format!(
                "{what}, which reads {}, was changed during the run",
                self.table.name
            ),
        );
        let empty = found.empty().unwrap_or_default();
        let gone = vec![same, checked("off"), empty, checked("on")];
        Follower {
            kinds: vec![DependentKind::Function],
            name: found.signature.clone(),
            what: what.to_owned(),
            relation: None,
            everywhere: true,
            filled: None,
            before: Vec::new(),
            undo: Vec::new(),
            gone: finding(schemas, gone),
            made: finding(schemas, vec![checked("on"), text.to_owned()]),
        }
    }
}
