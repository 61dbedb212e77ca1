//! `set_table_options`: sets and resets storage parameters of a table.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::catalog::TableKind;
use crate::lower::{Asking, Lower, Lowering, nearest};
use crate::object::{Object, RelationKind, TableSetting};
use crate::ops::common::TableRef;
use crate::plan::{Check, Declare, Mentions, TableUse};
use crate::step::{Change, Phase};

/// Sets and resets storage parameters of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetTableOptions {
    /// The table or partition.
    pub table: TableRef,
    /// Parameters and their values.
    #[serde(default)]
    #[schemars(schema_with = "values")]
    pub set: BTreeMap<String, String>,
    /// Parameters that get the server's value again.
    #[serde(default)]
    #[schemars(schema_with = "crate::ops::common::names_or_none")]
    pub reset: Vec<String>,
}

fn values(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": {"type": ["string", "number", "boolean"]},
    })
}

/// The parameters that are set under SHARE UPDATE EXCLUSIVE (every one of a
/// table but `user_catalog_table`), with the version that brought those which
/// 14 does not know.
const KNOWN: [(&str, u32); 25] = [
    ("fillfactor", 0),
    ("toast_tuple_target", 0),
    ("parallel_workers", 0),
    ("autovacuum_enabled", 0),
    ("vacuum_index_cleanup", 0),
    ("vacuum_truncate", 0),
    ("autovacuum_vacuum_threshold", 0),
    ("autovacuum_vacuum_max_threshold", 180_000),
    ("autovacuum_vacuum_scale_factor", 0),
    ("autovacuum_vacuum_insert_threshold", 0),
    ("autovacuum_vacuum_insert_scale_factor", 0),
    ("autovacuum_analyze_threshold", 0),
    ("autovacuum_analyze_scale_factor", 0),
    ("autovacuum_vacuum_cost_delay", 0),
    ("autovacuum_vacuum_cost_limit", 0),
    ("autovacuum_freeze_min_age", 0),
    ("autovacuum_freeze_max_age", 0),
    ("autovacuum_freeze_table_age", 0),
    ("autovacuum_multixact_freeze_min_age", 0),
    ("autovacuum_multixact_freeze_max_age", 0),
    ("autovacuum_multixact_freeze_table_age", 0),
    ("log_autovacuum_min_duration", 0),
    ("vacuum_max_eager_freeze_failure_rate", 180_000),
    ("toast.autovacuum_enabled", 0),
    ("toast.vacuum_truncate", 0),
];

impl SetTableOptions {
    fn know(&self, lowering: &mut Lowering<'_>, name: &str) {
        // The TOAST table has the parameters of vacuum, not those of rows.
        let own = name
            .strip_prefix("toast.")
            .filter(|own| own.contains("vacuum") && !own.contains("analyze"));
        let version = lowering.catalog().server.version;
        let known = KNOWN
            .iter()
            .find(|(known, _)| *known == name || Some(*known) == own);
        match known {
            Some((_, since)) if *since <= version => {}
            Some((_, since)) => lowering.invalid(
                format!(
                    "storage parameter `{name}` is new in PostgreSQL {}",
                    since / 10_000
                ),
                "Leave it out for this server.",
            ),
            None => {
                let near = nearest(name, KNOWN.iter().map(|(known, _)| *known));
                lowering.invalid(
                    format!("`{name}` is no storage parameter that may be set while the table is in use"),
                    near.map_or_else(
                        || "Those for vacuum, `fillfactor`, `toast_tuple_target` and `parallel_workers` may; others with a `sql` operation.".to_owned(),
                        |near| format!("Did you mean `{near}`?"),
                    ),
                );
            }
        }
    }
}

impl Declare for SetTableOptions {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Named);
    }

    fn check(&self, check: &mut Check<'_>) {
        if self.set.is_empty() && self.reset.is_empty() {
            let span = check.written.key.clone();
            check.report(
                &span,
                "it sets nothing",
                "expected `set` or `reset` with at least one parameter",
                "",
            );
        }
        for (index, name) in self.reset.iter().enumerate() {
            if self.set.contains_key(name) {
                let span = check.written.item(&["reset"], index);
                check.report(
                    &span,
                    format!("`{name}` stands in `set` as well"),
                    "expected one of the two",
                    "",
                );
            }
        }
    }
}

impl Lower for SetTableOptions {
    fn ask(&self, asking: &mut Asking<'_>) {
        let name = asking.table(&self.table);
        asking.object(Object::Relation {
            name,
            kind: RelationKind::Table,
        });
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.table(&self.table) else {
            return;
        };
        if table.kind == TableKind::Partitioned {
            lowering.unsafe_(
                format!("{} is partitioned and stores no rows itself", table.name),
                "Name its partitions, one operation for each.",
            );
        }
        for name in self.set.keys().chain(&self.reset) {
            self.know(lowering, name);
        }
        let object = Object::Relation {
            name: table.name.clone(),
            kind: RelationKind::Table,
        };
        // A table that the plan creates has none yet.
        let present: Vec<(String, String)> = lowering
            .object(&object)
            .map(|facts| facts.options.clone())
            .unwrap_or_default()
            .iter()
            .filter_map(|option| option.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let named = |name: &String| self.set.contains_key(name) || self.reset.contains(name);
        let change = |set, reset| Change::SetTable {
            table: table.name.clone(),
            setting: TableSetting::Options { set, reset },
        };
        let added: Vec<String> = self
            .set
            .keys()
            .filter(|name| !present.iter().any(|(known, _)| known == *name))
            .cloned()
            .collect();
        let former: Vec<(String, String)> = present
            .into_iter()
            .filter(|(name, _)| named(name))
            .collect();
        lowering.ddl(
            Phase::Expand,
            format!("set storage parameters of {}", table.name),
            change(self.set.clone().into_iter().collect(), self.reset.clone()),
            vec![change(former, added)],
        );
    }
}
