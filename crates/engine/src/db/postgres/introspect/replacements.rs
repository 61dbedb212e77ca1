//! What would hang on a column that takes another one's place: indexes are
//! built and constraints added on an empty temporary table that has the new
//! column under the old name, and are read back once it is renamed. All of it
//! is rolled back.
//!
//! The definitions are used as they are, for the names are the same; what the
//! new type makes of them, the server says. So nothing here reads or rewrites
//! an expression.

use std::collections::BTreeMap;

use pontoon_core::catalog::{
    Along, Catalog, Column, Constraint, ConstraintKind, DependentKind, Index, RenamedType,
    Replacement, Replacing, ServerMessage, Table, Tried,
};
use pontoon_core::name::TableName;
use pontoon_core::object::ObjectChange;
use pontoon_core::sql::postgres::change;
use pontoon_core::sql::quote::{quote_ident, quote_list, quote_table};
use pontoon_core::step::Change;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::questions::{begin, column_list, refused};
use super::{InspectError, build, end, rows, server};

/// What the old type is called while the new one has its name.
const ASIDE: &str = "_pontoon_aside";

pub(super) const DOING: &str = "let the server try what hangs on a column";

/// The answers, in the order of the questions.
pub(super) async fn ask(
    client: &Client,
    schema: &str,
    supposed: &[&str],
    asked: &[&Replacing],
    catalog: &Catalog,
) -> Result<Vec<Replacement>, InspectError> {
    let mut answers = Vec::new();
    for replacing in asked {
        let Some(table) = catalog.tables.get(&replacing.table) else {
            continue;
        };
        let Some(column) = table.column(&replacing.column) else {
            continue;
        };
        super::begin(client, &begin(schema, supposed)).await?;
        let trial = Trial {
            client,
            catalog,
            replacing,
            table,
            schema,
            column,
        };
        let result = trial.perform().await;
        answers.extend(end(client, result).await?);
    }
    Ok(answers)
}

/// One question.
pub(super) struct Trial<'a> {
    pub(super) client: &'a Client,
    pub(super) catalog: &'a Catalog,
    pub(super) replacing: &'a Replacing,
    pub(super) table: &'a Table,
    schema: &'a str,
    column: &'a Column,
}

impl Trial<'_> {
    /// `None` when the type is none, which the question about it tells.
    async fn perform(&self) -> Result<Option<Replacement>, InspectError> {
        let mut followers = self.followers().await?;
        let unchanged = self.unchanged(&self.replacing.column).await?;
        let computed = self.computed().await?;
        self.run(&format!(
            "SET LOCAL search_path = pg_catalog, {}, pg_temp",
            quote_ident(self.schema)
        ))
        .await?;
        let Some(collation) = self.create_table().await? else {
            return Ok(None);
        };
        if self.create_others().await?.is_err() {
            return Ok(None);
        }
        self.run("SET LOCAL search_path = pg_catalog").await?;
        if self.take_type_name().await?.is_err() {
            return Ok(None);
        }
        let mut answer = Replacement {
            asked: self.replacing.clone(),
            collation,
            indexes: Vec::new(),
            constraints: Vec::new(),
            incoming: Vec::new(),
            settings: Vec::new(),
            followers: Vec::new(),
            computed: Vec::new(),
            identity: None,
            unchanged,
        };
        for setting in &self.column.settings {
            let text = format!(
                "ALTER TABLE {} ALTER COLUMN {} {setting}",
                quote_table(&self.copy()),
                quote_ident(&self.replacing.column)
            );
            answer.settings.push(Tried {
                name: setting.clone(),
                result: self.attempt(&text).await?.map(|()| setting.clone()),
            });
        }
        let mut indexes = BTreeMap::new();
        for (number, index) in self.indexes().into_iter().enumerate() {
            let name = format!("pontoon_index_{number}");
            let index = Index {
                name: name.clone(),
                ..index.clone()
            };
            let text = change::create_index(&self.copy(), &index);
            indexes.insert(name, self.attempt(&text).await?);
        }
        let mut constraints = BTreeMap::new();
        for (number, constraint) in self.constraints().into_iter().enumerate() {
            let name = format!("pontoon_constraint_{number}");
            let tried = self.constraint(&name, constraint).await?;
            constraints.insert(name, tried);
        }
        for (name, from, constraint) in self.incoming() {
            let tried = self.incoming_key(from, constraint).await?;
            answer.incoming.push(Tried {
                name,
                result: tried.map(|()| self.over(&from.name, constraint)),
            });
        }
        let computed = self.try_computed(computed).await?;
        self.try_followers(&mut followers).await?;
        // What is built before the cutover finds the types under these names.
        self.give_type_name_back().await?;
        let own = self.copy();
        self.rename(&own, &self.replacing.column, &self.replacing.second)
            .await?;
        for along in self.on_copies() {
            let copy = copy_of(&along.table);
            self.rename(&copy, &along.column, &along.second).await?;
        }

        let oid = self.oid().await?;
        let mut built: BTreeMap<String, Index> = super::list(
            self.client,
            "indexes",
            include_str!("sql/indexes.sql"),
            &oid,
        )
        .await?
        .into_iter()
        .map(|row: rows::Index| (row.name.clone(), build::index(row)))
        .collect();
        for (index, (name, tried)) in self.indexes().into_iter().zip(in_order(indexes)) {
            answer.indexes.push(Tried {
                name: index.name.clone(),
                result: found(tried, built.remove(&name))?,
            });
        }
        let mut added: BTreeMap<String, Constraint> = super::list(
            self.client,
            "constraints",
            include_str!("sql/constraints.sql"),
            &oid,
        )
        .await?
        .into_iter()
        .map(|row: rows::Constraint| (row.name.clone(), build::constraint(row)))
        .collect();
        for (constraint, (name, tried)) in self.constraints().into_iter().zip(in_order(constraints))
        {
            let over = match &constraint.kind {
                ConstraintKind::ForeignKey { .. } => Some(self.over(&self.table.name, constraint)),
                _ => added.remove(&name),
            };
            answer.constraints.push(Tried {
                name: constraint.name.clone(),
                result: found(tried, over)?,
            });
        }
        self.read_statistics(&mut followers).await?;
        self.read_copies(&mut followers).await?;
        if self.replacing.second != self.replacing.last {
            self.rename(&own, &self.replacing.second, &self.replacing.last)
                .await?;
        }
        for along in self.on_copies() {
            let copy = copy_of(&along.table);
            self.rename(&copy, &along.second, &along.column).await?;
        }
        if self.take_type_name().await?.is_err() {
            return Ok(None);
        }
        answer.computed = self.read_computed(computed).await?;
        (answer.followers, answer.identity) = self.read_followers(followers).await?;
        Ok(Some(answer))
    }

    /// The new type gets the old one's name, when it shall have it in the end:
    /// texts that name the old type then mean the new one.
    async fn take_type_name(&self) -> Result<Result<(), ServerMessage>, InspectError> {
        let Some(RenamedType { old, new }) = &self.replacing.renamed else {
            return Ok(Ok(()));
        };
        self.attempt(&format!(
            "{};\n{}",
            rename_type(old, ASIDE),
            rename_type(new, &old.name)
        ))
        .await
    }

    /// Takes [`Trial::take_type_name`] back.
    async fn give_type_name_back(&self) -> Result<(), InspectError> {
        let Some(RenamedType { old, new }) = &self.replacing.renamed else {
            return Ok(());
        };
        self.run(&format!(
            "{};\n{}",
            rename_type(old, &new.name),
            rename_type(&TableName::new(&old.schema, ASIDE), &old.name)
        ))
        .await
    }

    /// Renames a column of a copy.
    async fn rename(&self, copy: &TableName, from: &str, to: &str) -> Result<(), InspectError> {
        self.run(&format!(
            "ALTER TABLE {} RENAME COLUMN {} TO {}",
            quote_table(copy),
            quote_ident(from),
            quote_ident(to)
        ))
        .await
    }

    /// The copy bears the table's own name.
    pub(super) fn copy(&self) -> TableName {
        copy_of(&self.table.name)
    }

    /// The other tables of which columns are replaced in the same cutover: what
    /// reads several of them is tried over all. Of two that bear one name in
    /// different schemas only the first can be copied.
    pub(super) fn others(&self) -> Vec<&TableName> {
        let mut others: Vec<&TableName> = Vec::new();
        for Along { table, .. } in &self.replacing.along {
            let is_taken = |name: &&TableName| name.name == table.name;
            if table.name != self.table.name.name && !others.iter().any(is_taken) {
                others.push(table);
            }
        }
        others
    }

    /// The columns that are replaced in the same cutover, where they are copied.
    fn on_copies(&self) -> impl Iterator<Item = &Along> {
        let others = self.others();
        let along = self.replacing.along.iter();
        along.filter(move |along| along.table == self.table.name || others.contains(&&along.table))
    }

    /// Copies of the other tables.
    async fn create_others(&self) -> Result<Result<(), ServerMessage>, InspectError> {
        for other in self.others() {
            let changed: Vec<(String, String)> = self
                .along(other)
                .map(|along| (along.column.clone(), along.to.clone()))
                .collect();
            let made = self
                .attempt(&format!(
                    "CREATE TEMPORARY TABLE {} ({})",
                    quote_ident(&other.name),
                    column_list(self.catalog, other, &changed)
                ))
                .await?;
            if made.is_err() {
                return Ok(made);
            }
        }
        Ok(Ok(()))
    }

    /// The collation that the new column has, when it is not its type's own.
    async fn create_table(&self) -> Result<Option<Option<String>>, InspectError> {
        let create = |to: String| {
            let along = self.along(&self.table.name);
            let changed: Vec<(String, String)> = along
                .map(|along| (along.column.clone(), along.to.clone()))
                .chain([(self.replacing.column.clone(), to)])
                .collect();
            format!(
                "CREATE TEMPORARY TABLE {} ({})",
                quote_ident(&self.table.name.name),
                column_list(self.catalog, &self.table.name, &changed)
            )
        };
        let to = &self.replacing.to;
        if let Some(collation) = &self.replacing.collation {
            let made = self
                .attempt(&create(format!("{to} COLLATE {collation}")))
                .await?;
            return match made {
                Ok(()) => self.collation().await.map(Some),
                Err(_) => Ok(None),
            };
        }
        if let Some(collation) = &self.column.def.collation {
            let text = create(format!("{to} COLLATE {collation}"));
            if self.attempt(&text).await?.is_ok() {
                return Ok(Some(Some(collation.clone())));
            }
        }
        let made = self.attempt(&create(to.clone())).await?;
        Ok(made.ok().map(|()| None))
    }

    /// The collation of the column of the copy, as the catalog names it.
    async fn collation(&self) -> Result<Option<String>, InspectError> {
        let columns = self.columns_of_copy().await?;
        let found = columns
            .into_iter()
            .find(|column| column.name == self.replacing.column);
        Ok(found.and_then(|column| column.collation))
    }

    pub(super) async fn columns_of_copy(&self) -> Result<Vec<rows::Column>, InspectError> {
        let oid = self.oid().await?;
        super::list(
            self.client,
            "columns",
            include_str!("sql/columns.sql"),
            &oid,
        )
        .await
    }

    pub(super) fn hangs_here(&self, kinds: &[DependentKind], name: &str) -> bool {
        self.column
            .dependents
            .iter()
            .any(|dependent| kinds.contains(&dependent.kind) && dependent.name == name)
    }

    fn indexes(&self) -> Vec<&Index> {
        const BEHIND: [DependentKind; 2] = [DependentKind::PrimaryKey, DependentKind::Unique];
        let hangs = |index: &&Index| match &index.constraint {
            Some(constraint) => self.hangs_here(&BEHIND, constraint),
            None => self.hangs_here(&[DependentKind::Index], &index.name),
        };
        self.table.indexes.iter().filter(hangs).collect()
    }

    fn constraints(&self) -> Vec<&Constraint> {
        const KINDS: [DependentKind; 2] = [DependentKind::Check, DependentKind::ForeignKey];
        let hangs = |constraint: &&Constraint| self.hangs_here(&KINDS, &constraint.name);
        self.table.constraints.iter().filter(hangs).collect()
    }

    /// Foreign keys that point at the column, with the tables that have them.
    fn incoming(&self) -> Vec<(String, &Table, &Constraint)> {
        let mut found = Vec::new();
        for key in &self.table.referenced_by {
            if !key.columns.contains(&self.replacing.column) {
                continue;
            }
            let Some(from) = self.catalog.tables.get(&key.table) else {
                continue;
            };
            let constraint = from.constraints.iter().find(|c| c.name == key.constraint);
            found.extend(constraint.map(|constraint| {
                (
                    format!("{} on {}", key.constraint, key.table),
                    from,
                    constraint,
                )
            }));
        }
        found
    }

    async fn constraint(
        &self,
        name: &str,
        constraint: &Constraint,
    ) -> Result<Result<(), ServerMessage>, InspectError> {
        let mut tried = Constraint {
            name: name.to_owned(),
            ..constraint.clone()
        };
        let mut text = String::new();
        if let ConstraintKind::ForeignKey {
            references,
            referenced_columns,
            ..
        } = &mut tried.kind
        {
            let target = format!("pontoon_target_{name}");
            let columns = self.columns_of(references, referenced_columns);
            let key = quote_list(referenced_columns.iter().map(String::as_str));
            text = format!("CREATE TEMPORARY TABLE {target} ({columns}, UNIQUE ({key}));\n");
            *references = TableName::new("pg_temp", target);
        }
        text.push_str(&self.add(&self.copy(), tried));
        self.attempt(&text).await
    }

    /// A foreign key of an empty table to the copy.
    async fn incoming_key(
        &self,
        from: &Table,
        constraint: &Constraint,
    ) -> Result<Result<(), ServerMessage>, InspectError> {
        let mut tried = constraint.clone();
        let mut text = String::new();
        let source = TableName::new("pg_temp", "pontoon_source");
        if let ConstraintKind::ForeignKey {
            columns,
            references,
            ..
        } = &mut tried.kind
        {
            text = format!(
                "DROP TABLE IF EXISTS pg_temp.pontoon_source;
                 CREATE TEMPORARY TABLE pontoon_source ({});\n",
                self.columns_of(&from.name, columns)
            );
            *references = self.copy();
        }
        text.push_str(&self.add(&source, tried));
        self.attempt(&text).await
    }

    fn add(&self, table: &TableName, constraint: Constraint) -> String {
        change::render(
            &Change::AddConstraint {
                table: table.clone(),
                constraint,
                using_index: None,
            },
            "",
        )
        .join(";\n")
    }

    /// Some columns of a table with their types, as in CREATE TABLE: the new
    /// types of those that are replaced in the same cutover.
    fn columns_of(&self, name: &TableName, names: &[String]) -> String {
        let table = self.catalog.tables.get(name);
        let columns: Vec<String> = names
            .iter()
            .filter_map(|name| table?.column(name))
            .map(|column| {
                let collation = column.def.collation.as_ref();
                let along = self.along(name).find(|a| a.column == column.def.name);
                format!(
                    "{} {}{}",
                    quote_ident(&column.def.name),
                    along
                        .filter(|_| self.replacing.renamed.is_none())
                        .map_or(&column.def.type_name, |along| &along.to),
                    collation.map_or_else(String::new, |name| format!(" COLLATE {name}"))
                )
            })
            .collect();
        columns.join(", ")
    }

    /// A foreign key of a table over the second columns, at both its ends.
    fn over(&self, from: &TableName, constraint: &Constraint) -> Constraint {
        let mut over = constraint.clone();
        if let ConstraintKind::ForeignKey {
            columns,
            references,
            referenced_columns,
            ..
        } = &mut over.kind
        {
            self.second(from, columns);
            self.second(references, referenced_columns);
        }
        over
    }

    fn second(&self, table: &TableName, names: &mut [String]) {
        let own =
            (table == &self.table.name).then_some((&self.replacing.column, &self.replacing.second));
        let along = self
            .along(table)
            .map(|along| (&along.column, &along.second));
        let all: BTreeMap<&String, &String> = own.into_iter().chain(along).collect();
        for name in names {
            if let Some(second) = all.get(name) {
                name.clone_from(second);
            }
        }
    }

    /// The columns of a table that are replaced in the same cutover.
    fn along<'s>(&'s self, table: &'s TableName) -> impl Iterator<Item = &'s Along> {
        let along = self.replacing.along.iter();
        along.filter(move |along| along.table == *table)
    }

    /// Runs something that the server may refuse; what it refuses leaves no
    /// trace.
    pub(super) async fn attempt(
        &self,
        text: &str,
    ) -> Result<Result<(), ServerMessage>, InspectError> {
        self.run("SAVEPOINT pontoon_attempt").await?;
        match self.client.batch_execute(text).await {
            Ok(()) => Ok(Ok(())),
            Err(error) => {
                let said = refused(error, DOING)?;
                self.run("ROLLBACK TO SAVEPOINT pontoon_attempt").await?;
                Ok(Err(said))
            }
        }
    }

    pub(super) async fn run(&self, text: &str) -> Result<(), InspectError> {
        self.client.batch_execute(text).await.map_err(server(DOING))
    }

    pub(super) async fn oid(&self) -> Result<Vec<u32>, InspectError> {
        let name = quote_table(&self.copy());
        let rows = self
            .client
            .query_typed(
                "SELECT $1::text::pg_catalog.regclass::pg_catalog.oid",
                &[(&name, Type::TEXT)],
            )
            .await
            .map_err(server(DOING))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

/// A copy bears the name of its table.
fn copy_of(table: &TableName) -> TableName {
    TableName::new("pg_temp", &table.name)
}

fn rename_type(from: &TableName, to: &str) -> String {
    change::render(
        &Change::Object {
            what: ObjectChange::RenameType {
                name: from.clone(),
                to: to.to_owned(),
            },
        },
        "",
    )
    .join(";\n")
}

/// In the order in which they were tried: `…_10` comes after `…_9`.
fn in_order<T>(tried: BTreeMap<String, T>) -> Vec<(String, T)> {
    let mut all: Vec<(String, T)> = tried.into_iter().collect();
    all.sort_by_key(|(name, _)| name.len());
    all
}

fn found<T>(
    tried: Result<(), ServerMessage>,
    found: Option<T>,
) -> Result<Result<T, ServerMessage>, InspectError> {
    match (tried, found) {
        (Err(said), _) => Ok(Err(said)),
        (Ok(()), Some(found)) => Ok(Ok(found)),
        (Ok(()), None) => Err(InspectError::Incomplete {
            what: "what would hang on a column",
        }),
    }
}
