//! What adds values to the lookup table to which rows refer, and keeps them there.
//!
//! # What stands where
//! For the n-th mapping that is a [`Rule::Referred`]:
//! - the [function](crate::step::Lookup::find) that finds values and adds what
//!   is missing, for batches and for the next one;
//! - `pontoon."<artifact>_settle<n>"()` and `!pontoon_<artifact>_r<n>`: a
//!   constraint trigger that fires when a transaction commits which has written
//!   values that nobody had added before;
//! - `pontoon."<artifact>_keep<n>"()`, `pontoon."<artifact>_mark<n>"()` and
//!   `!pontoon_<artifact>_k<n>…` on the lookup table: its rows do not change or go,
//!   for old versions write their values at any moment, and know of no row that
//!   they would have to hold; and whoever adds one can be seen before he commits.
//!
//! # Why not when the row is written
//! Whoever adds a value holds its key in the unique index until the transaction
//! ends. Of two transactions of an application that write two new values each, in
//! different order, each would wait for the other one: a deadlock that the
//! application does not have without us.
//!
//! # Why nobody waits for long, nor in a circle
//! A transaction that commits does nothing else that somebody could wait for. Yet
//! a new version may hold a value that it has added and not committed, and wait
//! for a row of the one that commits; if that one waited for the value, the server
//! would find a circle and end one of the two. So who adds values takes a shared
//! advisory lock first, a mark that nobody ever waits for ([`ADDING`]), and the
//! trigger looks whether anybody else has one: while it is so it *sleeps*, which is
//! no wait that the search for deadlocks could find, for an eighth of a second in
//! all. Who comes to add the value behind that look is waited for one millisecond
//! ([`TRY`]), and cannot have waited for us so long that he looks for a circle just
//! then.
//!
//! What is not to be had by then is left open, by the whole transaction: the row
//! keeps its values without a reference, and is counted as a loss is, so that no
//! verify pass from before proves anything. The next write of the row, or the next
//! pass, gives it its reference.
//!
//! Whatever else goes wrong (a value too long for an index, a trigger of the
//! application, a value that a REPEATABLE READ snapshot does not have and somebody
//! has added) ends the same way: the writer is not troubled, and the pass that
//! meets the row says why.
//!
//! # Why the row is read again
//! `NEW` is the row as one write left it. By the time of the commit it may have
//! been written again, or be gone; it is found by its primary key, and changed
//! only if it is open still. Where the key has changed, too, the write that did it
//! has its own turn.

use super::super::image::{values, without_modifiers};
use super::super::mapping::{
    changed, column, find_function, found, found_or_added, same_key, unfilled,
};
use super::{SCHEMA, count_loss, owned};
use crate::name::TableName;
use crate::sql::quote::{
    dollar_quote, quote_ident, quote_list, quote_literal, quote_qualified, quote_table,
};
use crate::step::{Lookup, MappedColumn, Mapping, Rule, Sync};

/// The SQLSTATE of a write that would change or remove a row of a lookup table
/// before the run is over. See [`CONFLICT_SQLSTATE`](super::CONFLICT_SQLSTATE).
pub const KEPT_SQLSTATE: &str = "P0P02";

/// The first key of the advisory locks that say that a transaction in progress
/// adds values; the second one is one of [`MARKS`], by the values.
const ADDING: i32 = 1_886_351_989;
/// A transaction takes at most so many, however much it adds.
const MARKS: i32 = 256;
/// How long one try waits for a lock: as long as a batch's, the least there is.
const TRY: &str = "1ms";
/// Seconds of the first pause between two tries; each one is twice as long.
const FIRST_PAUSE: f64 = 0.001;
/// Seconds of the last one.
const LAST_PAUSE: f64 = 0.064;

/// One mapping's part.
pub(super) struct Referring<'a> {
    sync: &'a Sync,
    artifact: &'a str,
    no: usize,
    mapping: &'a Mapping,
    lookup: &'a Lookup,
}

/// The references that a dual write keeps.
pub(super) fn all<'a>(
    sync: &'a Sync,
    artifact: &'a str,
) -> impl Iterator<Item = Referring<'a>> + use<'a> {
    let referred = sync.mappings.iter().filter_map(|mapping| {
        let lookup = lookup_of(mapping)?;
        Some((mapping, lookup))
    });
    (1..)
        .zip(referred)
        .map(|(no, (mapping, lookup))| Referring {
            sync,
            artifact,
            no,
            mapping,
            lookup,
        })
}

/// The lookup table of a mapping that has one.
pub fn lookup_of(mapping: &Mapping) -> Option<&Lookup> {
    match &mapping.rule {
        Rule::Referred { lookup } => Some(lookup),
        Rule::Pair { .. }
        | Rule::Fill { .. }
        | Rule::Derived { .. }
        | Rule::Copied { .. }
        | Rule::Omitted { .. } => None,
    }
}

/// The writes of a lookup table, by the last letter of their trigger's name: the
/// first one is marked, the others are refused.
const WRITES: [char; 4] = ['i', 'u', 'd', 't'];

impl Referring<'_> {
    fn settle_function(&self) -> String {
        quote_qualified(SCHEMA, &format!("{}_settle{}", self.artifact, self.no))
    }

    fn keep_function(&self) -> String {
        quote_qualified(SCHEMA, &format!("{}_keep{}", self.artifact, self.no))
    }

    fn mark_function(&self) -> String {
        quote_qualified(SCHEMA, &format!("{}_mark{}", self.artifact, self.no))
    }

    /// The name of the trigger on the table, unquoted.
    pub(super) fn trigger(&self) -> String {
        format!("!pontoon_{}_r{}", self.artifact, self.no)
    }

    fn keep_trigger(&self, write: char) -> String {
        format!("!pontoon_{}_k{}{write}", self.artifact, self.no)
    }

    /// The lookup table with the names of its triggers, unquoted.
    pub(super) fn kept(&self) -> (TableName, Vec<String>) {
        let names = WRITES.iter().map(|write| self.keep_trigger(*write));
        (self.lookup.table.clone(), names.collect())
    }

    /// The statements that create its functions.
    pub(super) fn create(&self) -> Vec<String> {
        let Self { sync, lookup, .. } = self;
        let find = find_function(lookup);
        let (settle, keep) = (self.settle_function(), self.keep_function());
        let mut statements = vec![self.create_find()];
        statements.extend(owned(
            &find,
            &format!("Pontoon: finds values in {}, or adds them", lookup.table),
        ));
        statements.push(format!(
            "CREATE FUNCTION {settle}() RETURNS trigger\nLANGUAGE plpgsql SECURITY DEFINER\nSET search_path = pg_catalog, pg_temp\nSET lock_timeout = '{TRY}'\nSET enable_seqscan = off\nAS {}",
            dollar_quote("pontoon", &self.settle()),
        ));
        statements.extend(owned(
            &settle,
            &format!("Pontoon: adds values of {} to {}", sync.table, lookup.table),
        ));
        statements.push(format!(
            "CREATE FUNCTION {keep}() RETURNS trigger\nLANGUAGE plpgsql\nSET search_path = pg_catalog, pg_temp\nAS {}",
            dollar_quote("pontoon", &self.keep()),
        ));
        statements.extend(owned(
            &keep,
            &format!("Pontoon: keeps the rows of {}", lookup.table),
        ));
        let mark = self.mark_function();
        statements.push(format!(
            "CREATE FUNCTION {mark}() RETURNS trigger\nLANGUAGE plpgsql\nSET search_path = pg_catalog, pg_temp\nAS {}",
            dollar_quote("pontoon", &self.mark()),
        ));
        statements.extend(owned(
            &mark,
            &format!("Pontoon: tells who adds rows to {}", lookup.table),
        ));
        statements
    }

    /// The statements that create its triggers; the one on the table is switched
    /// on with the others.
    pub(super) fn attach(&self) -> Vec<String> {
        let Self { sync, lookup, .. } = self;
        let table = quote_table(&lookup.table);
        let mut statements = vec![format!(
            "CREATE CONSTRAINT TRIGGER {} AFTER INSERT OR UPDATE ON {}\nDEFERRABLE INITIALLY DEFERRED FOR EACH ROW\nWHEN ({})\nEXECUTE FUNCTION {}()",
            quote_ident(&self.trigger()),
            quote_table(&sync.table),
            unfilled(self.mapping, "NEW"),
            self.settle_function(),
        )];
        for write in WRITES {
            statements.push(format!(
                "CREATE TRIGGER {} BEFORE {}\nEXECUTE FUNCTION {}()",
                quote_ident(&self.keep_trigger(write)),
                self.before(write),
                if write == 'i' {
                    self.mark_function()
                } else {
                    self.keep_function()
                },
            ));
        }
        let enabled: Vec<String> = WRITES
            .iter()
            .map(|write| {
                let name = quote_ident(&self.keep_trigger(*write));
                format!("ENABLE ALWAYS TRIGGER {name}")
            })
            .collect();
        statements.push(format!("ALTER TABLE {table} {}", enabled.join(", ")));
        statements
    }

    /// The statements that take it away, once the trigger on the table is gone.
    pub(super) fn drop(&self) -> Vec<String> {
        let table = quote_table(&self.lookup.table);
        let mut statements: Vec<String> = WRITES
            .iter()
            .map(|write| {
                let name = quote_ident(&self.keep_trigger(*write));
                format!("DROP TRIGGER {name} ON {table}")
            })
            .collect();
        for function in [
            self.settle_function(),
            self.keep_function(),
            self.mark_function(),
            find_function(self.lookup),
        ] {
            statements.push(format!("DROP FUNCTION {function}"));
        }
        statements
    }

    /// What stands between BEFORE and EXECUTE.
    fn before(&self, write: char) -> String {
        let table = quote_table(&self.lookup.table);
        let id = MappedColumn {
            name: self.lookup.id.clone(),
            type_name: "bigint".to_owned(),
            default: None,
        };
        let columns: Vec<MappedColumn> = std::iter::once(id)
            .chain(self.mapping.old.iter().cloned())
            .collect();
        match write {
            'i' => format!("INSERT ON {table} FOR EACH ROW"),
            // `ON CONFLICT … DO UPDATE SET city = excluded.city` changes nothing.
            'u' => format!(
                "UPDATE ON {table} FOR EACH ROW\nWHEN ({})",
                changed(&columns, "NEW", "OLD")
            ),
            'd' => format!("DELETE ON {table} FOR EACH ROW"),
            _ => format!("TRUNCATE ON {table} FOR EACH STATEMENT"),
        }
    }

    /// Of values with a NULL nothing is found: the function is STRICT. The lookup table may have been empty when a session planned its
    /// queries, and batches turn indexes off: hence the settings.
    fn create_find(&self) -> String {
        let Self {
            lookup, mapping, ..
        } = self;
        let parameters: Vec<String> = mapping
            .old
            .iter()
            .map(|c| without_modifiers(&c.type_name))
            .collect();
        let columns = quote_list(mapping.old.iter().map(|c| c.name.as_str()));
        let values: Vec<String> = (1..=mapping.old.len()).map(|no| format!("${no}")).collect();
        let same: Vec<String> = mapping
            .old
            .iter()
            .zip(&values)
            .zip(&lookup.collations)
            .map(|((c, value), collation)| {
                let collation = collation
                    .as_ref()
                    .map_or_else(String::new, |collation| format!(" COLLATE {collation}"));
                format!(
                    "{} OPERATOR(pg_catalog.=) {value}{collation}",
                    column("l", &c.name)
                )
            })
            .collect();
        let table = quote_table(&lookup.table);
        let id = column("l", &lookup.id);
        let find = format!(
            "SELECT {id} INTO pontoon_id FROM ONLY {table} AS l\n    WHERE {};",
            same.join(" AND ")
        );
        let body = format!(
            "
#variable_conflict use_column
DECLARE
    pontoon_id bigint;
BEGIN
    {find}
    IF pontoon_id IS NOT NULL THEN
        RETURN pontoon_id;
    END IF;
    INSERT INTO {table} AS l ({columns}) VALUES ({values})
    ON CONFLICT ({columns}) DO NOTHING RETURNING {id} INTO pontoon_id;
    IF pontoon_id IS NOT NULL THEN
        RETURN pontoon_id;
    END IF;
    -- Somebody else has just added them.
    {find}
    IF pontoon_id IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '40001',
            MESSAGE = {unseen};
    END IF;
    RETURN pontoon_id;
END
",
            values = values.join(", "),
            unseen = quote_literal(&format!(
                "could not serialize access: the values have just been added to {}",
                lookup.table
            )),
        );
        format!(
            "CREATE FUNCTION {}({}) RETURNS bigint\nLANGUAGE plpgsql STRICT\nSET search_path = pg_catalog, pg_temp\nSET enable_seqscan = off\nSET enable_indexscan = on\nAS {}",
            find_function(lookup),
            parameters.join(", "),
            dollar_quote("pontoon", &body),
        )
    }

    /// Which mark stands for the values of a row.
    fn mark_of(&self, row: &str) -> String {
        format!(
            "pg_catalog.hash_record(ROW({})) & {}",
            values(&self.mapping.old, row).join(", "),
            MARKS - 1
        )
    }

    fn mark(&self) -> String {
        format!(
            "
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock_shared({ADDING}, {});
    RETURN NEW;
END
",
            self.mark_of("NEW")
        )
    }

    fn settle(&self) -> String {
        let Self {
            sync,
            mapping,
            lookup,
            ..
        } = self;
        let set: Vec<String> = mapping
            .new
            .iter()
            .map(|reference| {
                format!(
                    "{} = {}",
                    quote_ident(&reference.name),
                    found_or_added(mapping, lookup, "t")
                )
            })
            .collect();
        let count: Vec<String> = count_loss(self.artifact)
            .iter()
            .map(|statement| format!("    {statement}\n"))
            .collect();
        format!(
            "
-- Pontoon: {told} gets values that this transaction has written and that nobody had
-- added before. Who adds them just now is slept for, not waited for: whoever waits
-- for this transaction never finds it in a circle. What cannot be had is left open and
-- counted, so that it is made good before the migration ends; nobody's write fails.
DECLARE
    pause double precision := {FIRST_PAUSE};
    known bigint;
    mark integer;
BEGIN
    WHILE pause <= {LAST_PAUSE} AND coalesce(pg_catalog.current_setting('pontoon.left_open', true), '') <> 'yes' LOOP
        SELECT {found}, {mark} INTO known, mark
        FROM ONLY {table} AS t WHERE {row} AND {open};
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
        IF known IS NOT NULL OR NOT EXISTS (
            SELECT FROM pg_catalog.pg_locks AS l
            WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
              AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
              AND l.classid::bigint = {ADDING} AND l.objid::bigint = mark
        ) THEN
            BEGIN
                UPDATE ONLY {table} AS t SET {set}
                WHERE {row} AND {open};
                RETURN NULL;
            EXCEPTION
                WHEN lock_not_available THEN
                    NULL;
                WHEN OTHERS THEN
                    EXIT;
            END;
        END IF;
        PERFORM pg_catalog.pg_sleep(pause);
        pause := 2 * pause;
    END LOOP;
    -- Once in a transaction is enough.
    PERFORM pg_catalog.set_config('pontoon.left_open', 'yes', true);
{count}    RETURN NULL;
END
",
            told = in_comment(&lookup.table.to_string()),
            found = found(mapping, lookup, "t"),
            mark = self.mark_of("t"),
            table = quote_table(&sync.table),
            set = set.join(", "),
            row = same_key(&lookup.key, "t", "NEW"),
            open = unfilled(mapping, "t"),
            count = count.concat(),
        )
    }

    fn keep(&self) -> String {
        let Self { sync, lookup, .. } = self;
        format!(
            "
BEGIN
    RAISE EXCEPTION USING ERRCODE = '{KEPT_SQLSTATE}',
        MESSAGE = {message},
        DETAIL = {detail},
        HINT = {hint},
        SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME;
END
",
            message = quote_literal(&format!(
                "rows of {} neither change nor go before the migration ends",
                lookup.table
            )),
            detail = quote_literal(&format!(
                "Old versions have these values in the rows of {}, and write them at any moment.",
                sync.table
            )),
            hint = quote_literal(&format!(
                "INSERT another row and let {} refer to it, or wait until contract is over: UPDATE, DELETE and TRUNCATE are free then.",
                sync.table
            )),
        )
    }
}

/// A name may hold a line break, which would end a comment.
fn in_comment(name: &str) -> String {
    name.replace(['\n', '\r'], " ")
}
