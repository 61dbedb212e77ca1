//! The triggers that keep the copies of a table's rows in another table.
//!
//! # What stands where
//! For the n-th mapping that is a [`Rule::Copied`]:
//! - `pontoon."<artifact>_copy<n>"()`: the function.
//! - `!pontoon_<artifact>_c<n>i`, `_c<n>u`, `_c<n>m`, `_c<n>d`: AFTER ROW
//!   triggers on INSERT, on an UPDATE of what is copied, on one that sets the
//!   mark (a batch, or whatever writes a row that no batch has met), on DELETE.
//! - `!pontoon_<artifact>_c<n>t`: AFTER TRUNCATE, for the statement.
//! - `~~pontoon_<artifact>_c<n>k`, `_c<n>g`: AFTER ROW triggers behind those of
//!   foreign keys, on an UPDATE of the key and on DELETE.
//!
//! # Why the function reads the row again
//! `NEW` is the row as this write left it. By the time an AFTER trigger runs,
//! another one, or a later row of the same statement, may have written the row
//! once more, and the trigger of *that* write may have run already: copying
//! `NEW` would bring an old value back. So the function makes the copy of a key
//! what the row of that key is now, and removes it where there is no such row.
//! Doing so once more than needed does no harm, in any order.
//!
//! Where keys move from row to row within a statement (`SET id = id - 1`), the
//! copy of the former key goes first, whoever has that key by now: it would
//! stand in the way of what a unique index lets the row give up. The new owner
//! of the key had its write before or has it later in the same statement. Before:
//! it is copied again by the last triggers, behind the one with which the foreign
//! key of contract (ON DELETE and ON UPDATE CASCADE) follows the row that left.
//! Later: the last triggers leave it alone as long as anything is in its way.
//!
//! # Why no copy outlives its row
//! A copy is written only in a transaction that writes the row itself, under
//! the row's lock. Whoever deletes the row under REPEATABLE READ sees its last
//! version, hence every transaction that wrote a version before it, hence the
//! last version of the copy. Where it does not see the last version of the row,
//! the row itself fails the DELETE with 40001. A batch writes the row, too: it
//! sets the mark.
//!
//! # Which columns an UPDATE has to name
//! What a BEFORE ROW trigger changes, no statement names. Only where the
//! application has none on the table does a column list keep the condition
//! from being looked at in statements that do not concern it.

use super::super::mapping::{changed, column, same_key};
use super::{SCHEMA, owned};
use crate::name::TableName;
use crate::sql::quote::{
    dollar_quote, quote_ident, quote_list, quote_literal, quote_qualified, quote_table,
};
use crate::step::{MappedColumn, Mapping, Rule, Sync, Twin};

/// One mapping's part.
pub(super) struct Copying<'a> {
    sync: &'a Sync,
    artifact: &'a str,
    no: usize,
    mark: &'a [MappedColumn],
    twin: &'a Twin,
}

/// The copies that a dual write keeps.
pub(super) fn all<'a>(
    sync: &'a Sync,
    artifact: &'a str,
) -> impl Iterator<Item = Copying<'a>> + use<'a> {
    let copied = sync.mappings.iter().filter_map(|mapping| {
        let Mapping { new, rule, .. } = mapping;
        match rule {
            Rule::Copied { twin, .. } => Some((new.as_slice(), &**twin)),
            Rule::Pair { .. }
            | Rule::Fill { .. }
            | Rule::Derived { .. }
            | Rule::Referred { .. }
            | Rule::Omitted { .. } => None,
        }
    });
    (1..).zip(copied).map(|(no, (mark, twin))| Copying {
        sync,
        artifact,
        no,
        mark,
        twin,
    })
}

/// The writes that are copied, by the last letter of their trigger's name.
const WRITES: [char; 7] = ['i', 'u', 'm', 'd', 't', 'k', 'g'];
/// Of these, those behind the triggers of foreign keys.
const LAST: [char; 2] = ['k', 'g'];

impl Copying<'_> {
    /// The function, quoted and qualified, without its parentheses.
    fn function(&self) -> String {
        quote_qualified(SCHEMA, &format!("{}_copy{}", self.artifact, self.no))
    }

    fn trigger(&self, write: char) -> String {
        let place = if LAST.contains(&write) { "~~" } else { "!" };
        format!("{place}pontoon_{}_c{}{write}", self.artifact, self.no)
    }

    /// The names of the triggers, unquoted.
    pub(super) fn triggers(&self) -> impl Iterator<Item = String> {
        WRITES.iter().map(|write| self.trigger(*write))
    }

    fn copied(&self) -> Vec<MappedColumn> {
        let Twin { key, columns, .. } = self.twin;
        key.iter().chain(columns).cloned().collect()
    }

    /// What stands between CREATE TRIGGER and EXECUTE.
    fn event(&self, write: char) -> String {
        let copied = self.copied();
        let differs = |columns: &[MappedColumn]| {
            format!("FOR EACH ROW\nWHEN ({})", changed(columns, "NEW", "OLD"))
        };
        let table = quote_table(&self.sync.table);
        match write {
            'i' => format!("AFTER INSERT ON {table} FOR EACH ROW"),
            'u' if self.sync.application_triggers => {
                format!("AFTER UPDATE ON {table} {}", differs(&copied))
            }
            'u' => format!(
                "AFTER UPDATE OF {} ON {table} {}",
                names(&copied),
                differs(&copied)
            ),
            'm' => format!("AFTER UPDATE ON {table} {}", differs(self.mark)),
            'k' if self.sync.application_triggers => {
                format!("AFTER UPDATE ON {table} {}", differs(&self.twin.key))
            }
            'k' => format!(
                "AFTER UPDATE OF {} ON {table} {}",
                names(&self.twin.key),
                differs(&self.twin.key)
            ),
            'd' | 'g' => format!("AFTER DELETE ON {table} FOR EACH ROW"),
            _ => format!("AFTER TRUNCATE ON {table} FOR EACH STATEMENT"),
        }
    }

    /// The statements that create its function.
    pub(super) fn create(&self) -> Vec<String> {
        let function = self.function();
        let comment = format!("Pontoon: copies rows of {}", self.sync.table);
        let mut statements = vec![format!(
            "CREATE FUNCTION {function}() RETURNS trigger\nLANGUAGE plpgsql SECURITY DEFINER\nSET search_path = pg_catalog, pg_temp\nAS {}",
            dollar_quote("pontoon", &self.body()),
        )];
        statements.extend(owned(&format!("{function}()"), &comment));
        statements
    }

    /// The statements that create its triggers.
    pub(super) fn attach(&self) -> impl Iterator<Item = String> {
        let function = self.function();
        WRITES.iter().map(move |write| {
            format!(
                "CREATE TRIGGER {} {}\nEXECUTE FUNCTION {function}({})",
                quote_ident(&self.trigger(*write)),
                self.event(*write),
                if LAST.contains(write) { "'last'" } else { "" },
            )
        })
    }

    /// The statement that drops its function, once the triggers are gone.
    pub(super) fn drop_function(&self) -> String {
        format!("DROP FUNCTION {}()", self.function())
    }

    fn body(&self) -> String {
        let Twin { table, key, .. } = self.twin;
        let copied = self.copied();
        let (source, copy) = (quote_table(&self.sync.table), quote_table(table));
        let of = |row: &str| {
            let columns: Vec<String> = copied.iter().map(|c| column(row, &c.name)).collect();
            columns.join(", ")
        };
        let set: Vec<String> = copied
            .iter()
            .map(|c| format!("{} = {}", quote_ident(&c.name), column("excluded", &c.name)))
            .collect();
        let moved = changed(key, "NEW", "OLD");
        format!(
            "
-- Pontoon: each row of {told} has its copy in {told_copy} while a migration runs.
-- What counts is the row as it is now, not as this one write left it: another
-- trigger may have written it since. Function and triggers go together when the
-- migration ends.
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        -- With CASCADE it is empty already, and still in use. Its size is no
        -- matter of the transaction's snapshot.
        IF pg_catalog.pg_relation_size({copy_name}::pg_catalog.regclass) <> 0 THEN
            TRUNCATE ONLY {copy};
        END IF;
        RETURN NULL;
    END IF;
    IF TG_NARGS > 0 THEN
        -- Behind foreign keys: another row may have the former key.
        INSERT INTO {copy} ({all})
        SELECT {values} FROM ONLY {source} AS s WHERE {source_is_old}
        ON CONFLICT DO NOTHING;
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' AND {moved} THEN
        DELETE FROM ONLY {copy} AS c WHERE {copy_is_old};
    ELSIF TG_OP = 'DELETE' THEN
        DELETE FROM ONLY {copy} AS c
        WHERE {copy_is_old} AND NOT EXISTS (SELECT FROM ONLY {source} AS s WHERE {source_is_old});
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO {copy} ({all})
        SELECT {values} FROM ONLY {source} AS s WHERE {source_is_new}
        ON CONFLICT ({keys}) DO UPDATE SET {set};
    END IF;
    RETURN NULL;
END
",
            copy_name = quote_literal(&copy),
            told = in_comment(&self.sync.table),
            told_copy = in_comment(table),
            copy_is_old = same_key(key, "c", "OLD"),
            source_is_old = same_key(key, "s", "OLD"),
            source_is_new = same_key(key, "s", "NEW"),
            all = names(&copied),
            values = of("s"),
            keys = names(key),
            set = set.join(", "),
        )
    }
}

fn names(columns: &[MappedColumn]) -> String {
    quote_list(columns.iter().map(|column| column.name.as_str()))
}

/// A name may hold a line break, which would end a comment.
fn in_comment(table: &TableName) -> String {
    table.to_string().replace(['\n', '\r'], " ")
}
