//! What our queries return: one JSON object a row.

use pontoon_core::catalog::{Grant, IndexKey, IndexSettings};
use pontoon_core::expr::Volatility;
use pontoon_core::name::TableName;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio_postgres::Row;

use super::InspectError;

/// Everything about the tables, as read.
pub(super) struct Decoded {
    pub(super) tables: Vec<Table>,
    pub(super) columns: Vec<Column>,
    pub(super) constraints: Vec<Constraint>,
    pub(super) indexes: Vec<Index>,
    pub(super) triggers: Vec<Trigger>,
    pub(super) publications: Vec<Publication>,
    pub(super) dependents: Vec<Edge>,
}

/// Reads the first column of each row as JSON.
pub(super) fn decode<T: DeserializeOwned>(
    what: &'static str,
    rows: Vec<Row>,
) -> Result<Vec<T>, InspectError> {
    rows.iter()
        .map(|row| {
            serde_json::from_str(row.get::<_, &str>(0))
                .map_err(|source| InspectError::Decode { what, source })
        })
        .collect()
}

/// The same for a single row.
pub(super) fn decode_one<T: DeserializeOwned>(
    what: &'static str,
    rows: Vec<Row>,
) -> Result<T, InspectError> {
    decode(what, rows)?
        .pop()
        .ok_or(InspectError::Incomplete { what })
}

#[derive(Debug, Deserialize)]
pub(super) struct Server {
    pub(super) version: u32,
    pub(super) system_identifier: String,
    pub(super) database: String,
    pub(super) role: String,
    pub(super) may_create_temp: bool,
    pub(super) in_recovery: bool,
    pub(super) compression: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Table {
    pub(super) oid: u32,
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) kind: char,
    pub(super) unlogged: bool,
    pub(super) owner: String,
    pub(super) owned_by_us: bool,
    pub(super) comment: Option<String>,
    pub(super) rls_enabled: bool,
    pub(super) rls_forced: bool,
    pub(super) rls_applies: bool,
    pub(super) policies: Vec<String>,
    pub(super) replica_identity: char,
    pub(super) replica_index: Option<String>,
    pub(super) partition_strategy: Option<char>,
    pub(super) partition_expressions: bool,
    pub(super) partition_columns: Vec<String>,
    pub(super) children: Vec<TableName>,
    pub(super) parents: Vec<TableName>,
    pub(super) grants: Vec<Grant>,
    pub(super) security_labels: Vec<String>,
    pub(super) pages: u64,
    pub(super) total_bytes: u64,
    pub(super) known_pages: i64,
    pub(super) known_rows: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Column {
    pub(super) table: u32,
    pub(super) name: String,
    pub(super) position: i16,
    pub(super) type_name: String,
    pub(super) base_type: String,
    pub(super) collation: Option<String>,
    pub(super) not_null: bool,
    pub(super) default: Option<String>,
    pub(super) default_volatility: Option<Volatility>,
    pub(super) identity: String,
    pub(super) generated: String,
    pub(super) comment: Option<String>,
    pub(super) not_null_domain: bool,
    pub(super) type_default: bool,
    pub(super) settings: Vec<String>,
    pub(super) grants: Vec<Grant>,
    pub(super) security_labels: Vec<String>,
    pub(super) inherited_from: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Constraint {
    pub(super) table: u32,
    pub(super) table_schema: String,
    pub(super) table_name: String,
    pub(super) name: String,
    pub(super) contype: char,
    pub(super) validated: bool,
    pub(super) deferrable: bool,
    pub(super) deferred: bool,
    pub(super) unusual: bool,
    pub(super) columns: Vec<String>,
    pub(super) expression: Option<String>,
    pub(super) referenced: u32,
    pub(super) referenced_schema: Option<String>,
    pub(super) referenced_name: Option<String>,
    pub(super) referenced_columns: Vec<String>,
    pub(super) on_delete: char,
    pub(super) on_update: char,
    pub(super) match_full: bool,
    pub(super) definition: String,
    pub(super) copy_of_own: bool,
    pub(super) copy_of_parent: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Index {
    pub(super) table: u32,
    pub(super) name: String,
    pub(super) method: String,
    pub(super) unique: bool,
    pub(super) nulls_not_distinct: bool,
    pub(super) keys: Vec<IndexKey>,
    pub(super) include: Vec<String>,
    pub(super) predicate: Option<String>,
    pub(super) valid: bool,
    pub(super) constraint: Option<String>,
    pub(super) definition: String,
    pub(super) settings: IndexSettings,
}

#[derive(Debug, Deserialize)]
pub(super) struct Trigger {
    pub(super) table: u32,
    pub(super) name: String,
    /// `pg_trigger.tgtype`.
    #[serde(rename = "type")]
    pub(super) bits: i16,
    pub(super) columns: Vec<String>,
    pub(super) enabled: char,
    pub(super) function: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Publication {
    pub(super) table: u32,
    pub(super) name: String,
    pub(super) columns: Option<Vec<String>>,
    pub(super) filter_columns: Option<Vec<String>>,
}

/// One row of `pg_depend` with the facts about the dependent object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Edge {
    pub(super) table: u32,
    /// The column, or 0 for the whole table.
    pub(super) attnum: i16,
    /// It refers to the table's row type, not to the table.
    pub(super) by_type: bool,
    pub(super) deptype: char,
    pub(super) class: String,
    pub(super) described: String,
    pub(super) relation: Option<RelationFacts>,
    pub(super) constraint: Option<ConstraintFacts>,
    pub(super) rule: Option<RuleFacts>,
    pub(super) trigger: Option<TriggerFacts>,
    pub(super) policy: Option<PolicyFacts>,
    pub(super) default: Option<DefaultFacts>,
    pub(super) statistics: Option<String>,
    pub(super) function: Option<String>,
    pub(super) own_row_type: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct RelationFacts {
    pub(super) kind: char,
    pub(super) schema: String,
    pub(super) name: String,
    /// It is the table itself.
    pub(super) same: bool,
    pub(super) child: bool,
    /// The generated column of it that depends.
    pub(super) generated: Option<String>,
    pub(super) constraint: Option<String>,
    pub(super) contype: Option<char>,
    pub(super) whole_row: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct ConstraintFacts {
    pub(super) name: String,
    pub(super) contype: char,
    pub(super) schema: Option<String>,
    pub(super) table: Option<String>,
    pub(super) same: bool,
    pub(super) in_key: Option<bool>,
    pub(super) in_referenced_key: Option<bool>,
    pub(super) copy: bool,
    pub(super) whole_row: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct RuleFacts {
    pub(super) name: String,
    /// `relkind` of the relation that has the rule.
    pub(super) kind: char,
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) whole_row: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct TriggerFacts {
    pub(super) name: String,
    pub(super) internal: bool,
    pub(super) same: bool,
    pub(super) update_of: bool,
    /// Its WHEN reads the column, or the whole row where `attnum` is 0.
    pub(super) in_when: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct PolicyFacts {
    pub(super) name: String,
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) same: bool,
    pub(super) whole_row: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct DefaultFacts {
    pub(super) column: String,
    pub(super) generated: bool,
}
