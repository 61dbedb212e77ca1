//! What of a table matters to a run, and what became of it.
//!
//! Both [`fingerprint`] and [`diff`] work on the same list of *facts*, so that
//! two catalogs have the same fingerprint exactly when nothing differs.
//!
//! A fact is what a program was compiled against: columns, types, defaults,
//! constraints, indexes, triggers, policies, publications and what else hangs
//! on the table. No fact are: sizes, object ids, comments, grants, the owner,
//! statistics settings, and partitions or children (they may come and go
//! during a run, which notices them by itself). Left out as well is what is
//! Pontoon's own while a run goes on: its triggers, and indexes under the name
//! that they are built with.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::{
    Catalog, Column, Constraint, ConstraintKind, Deferrable, DependentKind, Identity, Index,
    ReplicaIdentity, Table, TableKind, Trigger,
};
use crate::name::TableName;

/// How the names begin that Pontoon gives to what it builds.
const ARTIFACT: &str = "_pontoon_";

/// Part of every fingerprint: raised when the same table gives other facts in
/// a newer version of Pontoon.
const FACTS_VERSION: u32 = 1;

/// A subject, as `column public.users.email`, and its aspects: `type`, `text`.
/// An aspect without a name needs none: `nullable became NOT NULL`.
type Facts = BTreeMap<String, BTreeMap<&'static str, String>>;

/// A hash of the facts of these tables: 64 hexadecimal digits, the same on
/// every machine and for every version of PostgreSQL that tells the same.
/// Tables that do not exist count as absent; their order does not matter.
pub fn fingerprint(catalog: &Catalog, tables: &[TableName]) -> String {
    let mut hasher = Sha256::new();
    // Every part is preceded by its length: no name can imitate a border.
    let mut feed = |text: &str| {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    feed(&FACTS_VERSION.to_string());
    for (subject, aspects) in facts(catalog, tables) {
        feed(&subject);
        feed(&aspects.len().to_string());
        for (aspect, value) in aspects {
            feed(aspect);
            feed(&value);
        }
    }
    hasher
        .finalize()
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            // Writing into a String cannot fail.
            _ = write!(text, "{byte:02x}");
            text
        })
}

/// What became of these tables between two catalogs, a sentence without its
/// period each: `column public.users.email: type text became bigint`. Empty
/// exactly when the fingerprints are equal.
pub fn diff(before: &Catalog, after: &Catalog, tables: &[TableName]) -> Vec<String> {
    let before = facts(before, tables);
    let after = facts(after, tables);
    let mut sentences = Vec::new();
    // A table that came or went says it all.
    let whole: Vec<&TableName> = tables
        .iter()
        .filter(|name| {
            let subject = table_subject(name);
            before.contains_key(&subject) != after.contains_key(&subject)
        })
        .collect();
    let covered = |subject: &str| {
        whole.iter().any(|name| {
            subject
                .split_once(" of table ")
                .is_some_and(|(_, table)| table == name.to_string())
                || subject.starts_with(&format!("column {name}."))
        })
    };
    for (subject, old) in &before {
        match after.get(subject) {
            None if !covered(subject) => sentences.push(format!("{subject} was dropped")),
            None => {}
            Some(new) => sentences.extend(changes(subject, old, new)),
        }
    }
    for subject in after.keys() {
        if !before.contains_key(subject) && !covered(subject) {
            sentences.push(format!("{subject} was added"));
        }
    }
    sentences
}

fn changes(
    subject: &str,
    old: &BTreeMap<&'static str, String>,
    new: &BTreeMap<&'static str, String>,
) -> Vec<String> {
    old.iter()
        .filter_map(|(aspect, old)| {
            let new = new.get(aspect)?;
            let space = if aspect.is_empty() { "" } else { " " };
            (old != new).then(|| format!("{subject}: {aspect}{space}{old} became {new}"))
        })
        .collect()
}

fn facts(catalog: &Catalog, tables: &[TableName]) -> Facts {
    let mut facts = Facts::new();
    for table in tables.iter().filter_map(|name| catalog.tables.get(name)) {
        table_facts(&mut facts, table);
        for column in &table.columns {
            column_facts(&mut facts, table, column);
        }
        for constraint in &table.constraints {
            constraint_facts(&mut facts, table, constraint);
        }
        for index in &table.indexes {
            if !index.name.starts_with(ARTIFACT) {
                index_facts(&mut facts, table, index);
            }
        }
        for trigger in table.triggers.iter().filter(|trigger| !trigger.ours) {
            trigger_facts(&mut facts, table, trigger);
        }
        dependent_facts(&mut facts, table);
    }
    facts
}

fn table_subject(name: &TableName) -> String {
    format!("table {name}")
}

fn of(kind: &str, name: &str, table: &Table) -> String {
    format!("{kind} {name} of table {}", table.name)
}

fn list(names: &[String]) -> String {
    format!("({})", names.join(", "))
}

fn or_none(text: Option<&str>) -> String {
    text.map_or_else(|| "none".to_owned(), str::to_owned)
}

fn either(condition: bool, yes: &str, no: &str) -> String {
    if condition { yes } else { no }.to_owned()
}

fn table_facts(facts: &mut Facts, table: &Table) {
    let kind = match table.kind {
        TableKind::Ordinary => "ordinary table".to_owned(),
        TableKind::Partitioned => "partitioned table".to_owned(),
        TableKind::Other(kind) => format!("relation of kind {kind}"),
    };
    let parents: Vec<String> = table.parents.iter().map(TableName::to_string).collect();
    let replica_identity = match &table.replica_identity {
        ReplicaIdentity::Default => "primary key".to_owned(),
        ReplicaIdentity::Nothing => "nothing".to_owned(),
        ReplicaIdentity::Full => "full".to_owned(),
        ReplicaIdentity::Index(index) => format!("index {index}"),
    };
    let partitioning = table
        .partitioning
        .as_ref()
        .map(|partitioning| format!("{} {}", partitioning.strategy, list(&partitioning.columns)));
    facts.insert(
        table_subject(&table.name),
        BTreeMap::from([
            ("", kind),
            ("parents", list(&parents)),
            ("replica identity", replica_identity),
            ("partition key", or_none(partitioning.as_deref())),
            (
                "row level security",
                match (table.row_security.enabled, table.row_security.forced) {
                    (false, _) => "off".to_owned(),
                    (true, false) => "on".to_owned(),
                    (true, true) => "forced".to_owned(),
                },
            ),
        ]),
    );
    for policy in &table.row_security.policies {
        facts.insert(of("policy", policy, table), BTreeMap::new());
    }
    for publication in &table.publications {
        facts.insert(
            of("publication", &publication.name, table),
            BTreeMap::from([
                (
                    "columns",
                    publication
                        .columns
                        .as_deref()
                        .map_or_else(|| "all".to_owned(), list),
                ),
                (
                    "",
                    either(
                        publication.filtered,
                        "with a row filter",
                        "without a row filter",
                    ),
                ),
            ]),
        );
    }
    for key in &table.referenced_by {
        facts.insert(
            of(
                "foreign key",
                &format!(
                    "{} from {} to {}",
                    key.constraint,
                    key.table,
                    list(&key.columns)
                ),
                table,
            ),
            BTreeMap::new(),
        );
    }
}

fn column_facts(facts: &mut Facts, table: &Table, column: &Column) {
    let def = &column.def;
    let generated = def.generated.as_ref().map(|generated| {
        format!(
            "{} {}",
            generated.expression,
            either(generated.stored, "STORED", "VIRTUAL")
        )
    });
    facts.insert(
        format!("column {}.{}", table.name, def.name),
        BTreeMap::from([
            ("type", def.type_name.clone()),
            ("collation", or_none(def.collation.as_deref())),
            ("", either(def.nullable, "nullable", "NOT NULL")),
            (
                "default",
                or_none(
                    def.default
                        .as_ref()
                        .map(|default| default.template.as_str()),
                ),
            ),
            (
                "identity",
                or_none(def.identity.map(|identity| match identity {
                    Identity::Always => "ALWAYS",
                    Identity::ByDefault => "BY DEFAULT",
                })),
            ),
            ("generated as", or_none(generated.as_deref())),
            (
                "domain",
                either(column.not_null_domain, "refuses NULL", "takes NULL"),
            ),
        ]),
    );
}

fn constraint_facts(facts: &mut Facts, table: &Table, constraint: &Constraint) {
    let what = match &constraint.kind {
        ConstraintKind::Check { expression, .. } => format!("CHECK ({expression})"),
        ConstraintKind::Unique { columns } => format!("UNIQUE {}", list(columns)),
        ConstraintKind::PrimaryKey { columns } => format!("PRIMARY KEY {}", list(columns)),
        ConstraintKind::Exclusion => format!("EXCLUDE {}", constraint.definition),
        ConstraintKind::ForeignKey {
            columns,
            references,
            referenced_columns,
            on_delete,
            on_update,
            match_full,
        } => format!(
            "FOREIGN KEY {} REFERENCES {references} {}, ON DELETE {on_delete:?}, ON UPDATE {on_update:?}, MATCH {}",
            list(columns),
            list(referenced_columns),
            either(*match_full, "FULL", "SIMPLE")
        ),
        ConstraintKind::Other { contype } => format!("{contype}: {}", constraint.definition),
    };
    facts.insert(
        of("constraint", &constraint.name, table),
        BTreeMap::from([
            ("definition", what),
            ("", either(constraint.validated, "valid", "NOT VALID")),
            (
                "check time",
                match constraint.deferrable {
                    None => "not deferrable",
                    Some(Deferrable::InitiallyImmediate) => "deferrable, initially immediate",
                    Some(Deferrable::InitiallyDeferred) => "deferrable, initially deferred",
                }
                .to_owned(),
            ),
        ]),
    );
}

fn index_facts(facts: &mut Facts, table: &Table, index: &Index) {
    let keys: Vec<String> = index
        .keys
        .iter()
        .map(|key| {
            let mut text = or_none(key.column.as_deref().or(key.expression.as_deref()));
            for (word, value) in [("COLLATE ", &key.collation), ("", &key.opclass)] {
                if let Some(value) = value {
                    text.push_str(&format!(" {word}{value}"));
                }
            }
            text.push_str(if key.descending { " DESC" } else { "" });
            if key.nulls_first != key.descending {
                text.push_str(&either(key.nulls_first, " NULLS FIRST", " NULLS LAST"));
            }
            text
        })
        .collect();
    facts.insert(
        of("index", &index.name, table),
        BTreeMap::from([
            ("method", index.method.clone()),
            ("keys", list(&keys)),
            ("include", list(&index.include)),
            ("predicate", or_none(index.predicate.as_deref())),
            (
                "uniqueness",
                match (index.unique, index.nulls_not_distinct) {
                    (false, _) => "none",
                    (true, false) => "UNIQUE",
                    (true, true) => "UNIQUE NULLS NOT DISTINCT",
                }
                .to_owned(),
            ),
            ("", either(index.valid, "valid", "INVALID")),
            ("constraint", or_none(index.constraint.as_deref())),
        ]),
    );
}

fn trigger_facts(facts: &mut Facts, table: &Table, trigger: &Trigger) {
    let events: Vec<&str> = [
        (trigger.on_insert, "INSERT"),
        (trigger.on_update, "UPDATE"),
        (trigger.on_delete, "DELETE"),
        (trigger.on_truncate, "TRUNCATE"),
    ]
    .into_iter()
    .filter_map(|(fires, event)| fires.then_some(event))
    .collect();
    facts.insert(
        of("trigger", &trigger.name, table),
        BTreeMap::from([
            (
                "time",
                format!(
                    "{} {} FOR EACH {}",
                    either(trigger.before, "BEFORE", "AFTER"),
                    events.join(" OR "),
                    either(trigger.row, "ROW", "STATEMENT")
                ),
            ),
            ("columns", list(&trigger.columns)),
            ("function", trigger.function.clone()),
            (
                "",
                match trigger.enabled {
                    'O' => "enabled".to_owned(),
                    'D' => "disabled".to_owned(),
                    'R' => "enabled on replicas".to_owned(),
                    'A' => "enabled always".to_owned(),
                    other => other.to_string(),
                },
            ),
        ]),
    );
}

/// Dependents that no other fact tells.
fn dependent_facts(facts: &mut Facts, table: &Table) {
    let on_table = table
        .dependents
        .iter()
        .map(|d| (d, table_subject(&table.name)));
    let on_columns = table.columns.iter().flat_map(|column| {
        column.dependents.iter().map(move |dependent| {
            let on = format!("column {}.{}", table.name, column.def.name);
            (dependent, on)
        })
    });
    for (dependent, on) in on_table.chain(on_columns) {
        let kind = match &dependent.kind {
            DependentKind::View => "view",
            DependentKind::MaterializedView => "materialized view",
            DependentKind::Rule => "rule",
            DependentKind::Policy => "policy",
            DependentKind::Function => "function",
            DependentKind::OwnedSequence => "sequence",
            DependentKind::ExtendedStatistics => "extended statistics",
            DependentKind::PublicationFilter => "row filter of publication",
            DependentKind::TriggerWhen => "condition of trigger",
            DependentKind::RowType => "user of the row type:",
            DependentKind::Unknown { .. } => "unknown dependent:",
            // Told by the constraints, indexes, triggers, publications,
            // generated columns, parents and partition keys themselves.
            DependentKind::Index
            | DependentKind::PrimaryKey
            | DependentKind::Unique
            | DependentKind::Check
            | DependentKind::Exclusion
            | DependentKind::ForeignKey
            | DependentKind::ReferencedByForeignKey
            | DependentKind::TriggerColumns
            | DependentKind::GeneratedColumn
            | DependentKind::PublicationColumns
            | DependentKind::ReplicaIdentity
            | DependentKind::PartitionKey
            | DependentKind::InheritedColumn => continue,
        };
        // The `of table` at the end is how a dropped table covers its own.
        let on = match on.strip_prefix("column ") {
            Some(column) => format!("on column {column} of table {}", table.name),
            None => format!("of table {}", table.name),
        };
        facts.insert(format!("{kind} {} {on}", dependent.name), BTreeMap::new());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Dependent;
    use crate::expr::{Expr, Volatility};

    fn shop() -> (Catalog, Vec<TableName>) {
        let text = include_str!("../../tests/fixtures/shop.json");
        let catalog: Catalog = serde_json::from_str(text).expect("the fixture is a catalog");
        let tables = catalog.tables.keys().cloned().collect();
        (catalog, tables)
    }

    fn customers(catalog: &mut Catalog) -> &mut Table {
        catalog
            .tables
            .get_mut(&TableName::new("public", "customers"))
            .expect("the shop has customers")
    }

    fn column<'a>(catalog: &'a mut Catalog, name: &str) -> &'a mut Column {
        customers(catalog)
            .columns
            .iter_mut()
            .find(|column| column.def.name == name)
            .expect("customers have that column")
    }

    /// What `change` does to the shop, in sentences; a fingerprint that does
    /// not follow is a failure.
    fn became(change: impl FnOnce(&mut Catalog)) -> Vec<String> {
        let (before, tables) = shop();
        let mut after = before.clone();
        change(&mut after);
        let sentences = diff(&before, &after, &tables);
        assert_eq!(
            sentences.is_empty(),
            fingerprint(&before, &tables) == fingerprint(&after, &tables),
            "{sentences:?}"
        );
        sentences
    }

    #[test]
    fn sizes_comments_and_our_own_work_are_no_change() {
        let sentences = became(|catalog| {
            catalog.server.database = "other".into();
            let index = customers(catalog).indexes[0].clone();
            let trigger = customers(catalog).triggers[0].clone();
            let table = customers(catalog);
            table.oid = 1;
            table.size.pages = 0;
            table.comment = None;
            table.grants.clear();
            table.owner = "else".into();
            table.children.push(TableName::new("public", "child"));
            table.indexes.push(Index {
                name: "_pontoon_1_2_3".into(),
                valid: false,
                ..index
            });
            table.triggers.push(Trigger {
                name: "!pontoon_1".into(),
                ours: true,
                ..trigger
            });
        });
        assert_eq!(sentences, Vec::<String>::new());
    }

    #[test]
    fn changes_are_told_in_sentences() {
        let (mut before, tables) = shop();
        column(&mut before, "phone").dependents.push(Dependent {
            kind: DependentKind::View,
            name: "public.phones".into(),
        });
        let mut after = before.clone();
        column(&mut after, "email").def.type_name = "bigint".into();
        column(&mut after, "name").def.nullable = false;
        column(&mut after, "vip").def.default = Some(Expr {
            template: "true".into(),
            columns: Vec::new(),
            volatility: Volatility::Immutable,
        });
        let table = customers(&mut after);
        table.columns.retain(|column| column.def.name != "phone");
        table.constraints[0].validated = false;
        table.indexes.remove(0);
        table.triggers[0].enabled = 'D';
        table.row_security.enabled = true;
        table.row_security.policies.push("mine".into());
        let mut sentences = diff(&before, &after, &tables);
        sentences.sort();
        assert_eq!(
            sentences,
            [
                "column public.customers.email: type text became bigint",
                "column public.customers.name: nullable became NOT NULL",
                "column public.customers.phone was dropped",
                "column public.customers.vip: default false became true",
                "constraint customers_email_check of table public.customers: valid became NOT VALID",
                "index customers_email_key of table public.customers was dropped",
                "policy mine of table public.customers was added",
                "table public.customers: row level security off became on",
                "trigger customers_touch of table public.customers: enabled became disabled",
                "view public.phones on column public.customers.phone of table public.customers was dropped",
            ]
        );
    }

    #[test]
    fn a_dropped_table_is_one_sentence() {
        let sentences = became(|catalog| {
            catalog
                .tables
                .remove(&TableName::new("public", "order_items"));
        });
        assert_eq!(sentences, ["table public.order_items was dropped"]);
    }

    #[test]
    fn only_the_tables_asked_for_count() {
        let (before, _) = shop();
        let mut after = before.clone();
        column(&mut after, "email").def.type_name = "bigint".into();
        let orders = [TableName::new("public", "orders")];
        assert_eq!(diff(&before, &after, &orders), Vec::<String>::new());
        assert_eq!(fingerprint(&before, &orders), fingerprint(&after, &orders));
    }

    /// A fingerprint is stored with a run and read by a later version: when
    /// this fails, raise [`FACTS_VERSION`].
    #[test]
    fn the_fingerprint_is_stable() {
        let (catalog, mut tables) = shop();
        let first = fingerprint(&catalog, &tables);
        tables.reverse();
        assert_eq!(fingerprint(&catalog, &tables), first);
        insta::assert_snapshot!(first);
    }
}
