//! `set_statistics`: sets a column's statistics target.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::Table;
use crate::lower::{Asking, Lower, Lowering};
use crate::object::TableSetting;
use crate::ops::common::TableRef;
use crate::plan::{Declare, Mentions, Role, TableUse};
use crate::step::{Change, Phase};

/// Sets a column's statistics target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetStatistics {
    /// The table.
    pub table: TableRef,
    /// The column.
    #[schemars(extend("format" = "identifier"))]
    pub column: String,
    /// 0 to 10,000; left out, the server's default counts again.
    #[serde(default)]
    #[schemars(range(max = 10000))]
    pub target: Option<u16>,
}

/// The target that a column has now; -1 for the default.
fn present(table: &Table, column: &str) -> i32 {
    table
        .column(column)
        .into_iter()
        .flat_map(|column| &column.settings)
        .find_map(|setting| setting.strip_prefix("SET STATISTICS ")?.parse().ok())
        .unwrap_or(-1)
}

impl Declare for SetStatistics {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Named);
        to.column(&self.table, &self.column, Role::Key, &["column"]);
    }
}

impl Lower for SetStatistics {
    fn ask(&self, asking: &mut Asking<'_>) {
        asking.table(&self.table);
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.table(&self.table) else {
            return;
        };
        if lowering.column_or_added(&table, &self.column).is_none() {
            return;
        }
        let set = |table: &Table, target| Change::SetTable {
            table: table.name.clone(),
            setting: TableSetting::Statistics {
                column: self.column.clone(),
                target,
            },
        };
        // The change reaches everything below the table, and so does its undo:
        // what differed there is set again afterwards.
        let former = present(&table, &self.column);
        let mut back = vec![set(&table, former)];
        for below in lowering.descendants(&table) {
            let own = present(&below, &self.column);
            if own != former {
                back.push(set(&below, own));
            }
        }
        lowering.ddl(
            Phase::Expand,
            format!(
                "set the statistics target of {}.{}",
                table.name, self.column
            ),
            set(&table, self.target.map_or(-1, i32::from)),
            back,
        );
        lowering.note(format!(
            "Statistics of {}.{} follow with the next ANALYZE; the operation `analyze` runs one.",
            table.name, self.column
        ));
    }
}
