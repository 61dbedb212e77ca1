//! The text of one guarded try: one simple query from BEGIN to COMMIT.
//!
//! The server reads the whole message before it begins, so no pause of ours
//! can fall between two of its statements while a lock is held.
//!
//! What needs no lock of a table comes first. Then two rungs: SHARE UPDATE
//! EXCLUSIVE, which blocks neither reads nor writes and is waited for long
//! enough to make an autovacuum yield; then, within the short budget, the modes
//! that the step needs. Everything from the wait for the first strong lock to
//! the last deferred trigger is one DO block, for the statement timer starts
//! anew with every statement.

use std::time::Duration;

use pontoon_core::sql::quote::{dollar_quote, quote_literal};
use pontoon_core::step::LockMode;

use super::super::fence::{BEGIN, fence_statement};
use super::super::sqlstate::BROKEN;
use super::Guarded;
use super::locks::{Lock, conflict, words};

/// What the server told about the present session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// The server's `deadlock_timeout`, also as set for our role.
    pub(super) deadlock_timeout: Duration,
    /// As the most impatient of all roles has it.
    pub(super) first_look: Duration,
    /// `server_version_num`.
    pub(super) version: i32,
}

/// One try.
pub(super) struct Try<'a> {
    /// What is done.
    pub(super) guarded: &'a Guarded<'a>,
    /// The tables to lock, the one that is waited for first.
    pub(super) locks: &'a [Lock],
    /// How long the first strong lock is waited for.
    pub(super) wait: Duration,
    /// From queueing for it to the end of the DO block.
    pub(super) hold: Duration,
    /// Names the transaction in `pg_stat_activity`.
    pub(super) name: &'a str,
    /// Tries of this action so far, this one included.
    pub(super) attempts: u32,
    /// Milliseconds that the earlier tries spent queueing.
    pub(super) waited_ms: f64,
    /// The server.
    pub(super) facts: Facts,
}

/// Who holds locks and waits for another one must have let go before anybody
/// looks for a deadlock: this share of `deadlock_timeout` after it has begun.
const BEFORE_DEADLOCKS: f64 = 0.8;

/// The variables that a step's state is read into.
const STEP: &str = "
    step_state text;
    step_undone integer;
";

/// The share of the budget that the DO block may use: the rest is for COMMIT,
/// which flushes the log and is bounded by no timer before 17.
const BLOCK_SHARE: f64 = 0.9;

impl Try<'_> {
    /// How long the first rung waits for each table.
    pub(super) fn rung_wait(&self) -> Duration {
        self.facts.deadlock_timeout + Duration::from_millis(500)
    }

    /// The tables of the first rung: those whose mode conflicts with what
    /// vacuum holds.
    fn rung(&self) -> Vec<&Lock> {
        self.locks
            .iter()
            .filter(|lock| lock.lockable && conflict(lock.mode, LockMode::ShareUpdateExclusive))
            .collect()
    }

    /// An upper bound of the whole message on a server that keeps its timers.
    pub(super) fn longest(&self) -> Duration {
        let rung = self.rung_wait() * u32::try_from(self.rung().len()).unwrap_or(u32::MAX);
        rung + self.hold
    }

    /// The message.
    pub(super) fn text(&self) -> String {
        let Guarded { fence, .. } = self.guarded;
        let ms = |duration: Duration| duration.as_millis().max(1);
        let block = self.hold.mul_f64(BLOCK_SHARE);
        let mut text = format!(
            "{BEGIN}SET LOCAL application_name = {name};
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL synchronous_commit = local;
SET LOCAL idle_in_transaction_session_timeout = {hold};
SET LOCAL lock_timeout = {rung_wait};
SET LOCAL statement_timeout = {longest};
",
            name = quote_literal(self.name),
            hold = ms(self.hold),
            rung_wait = ms(self.rung_wait()),
            longest = ms(self.longest()),
        );
        if self.facts.version >= 170_000 {
            // This timer covers COMMIT too. It ends the session: a last resort.
            text.push_str(&format!(
                "SET LOCAL transaction_timeout = {};\n",
                ms(self.longest() + self.hold)
            ));
        }
        text.push_str(&fence_statement(fence));
        if !self.guarded.beforehand.is_empty() {
            text.push_str(&format!(
                "DO {};\n",
                dollar_quote("pontoon_guard", &self.beforehand())
            ));
        }
        let rung = self.rung();
        if !rung.is_empty() {
            let tables: Vec<String> = rung.iter().map(|lock| lock.only()).collect();
            text.push_str(&format!(
                "LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE;\n",
                tables.join(", ")
            ));
        }
        text.push_str(&format!(
            "SET LOCAL lock_timeout = {};\nSET LOCAL statement_timeout = {};\nDO {};\n",
            ms(self.wait.min(block)),
            ms(block),
            dollar_quote("pontoon_guard", &self.block())
        ));
        // The settings die with COMMIT, the answer does not.
        text.push_str(
            "SELECT pg_catalog.current_setting('pontoon.guard') AS cost;
COMMIT;
SELECT extract(epoch FROM pg_catalog.clock_timestamp()) AS ended",
        );
        text
    }

    /// Waits for a further table half as long as for the first one, and no longer
    /// than until somebody who waits for us could look for a deadlock: whoever
    /// holds that table and wants one of ours would be its victim.
    fn wait_for_another(&self) -> String {
        let until = self.facts.first_look.mul_f64(BEFORE_DEADLOCKS);
        format!(
            "    PERFORM pg_catalog.set_config('lock_timeout', greatest(1, least({half}, {until} - \
             (extract(epoch FROM pg_catalog.clock_timestamp()) - begun) * 1000))::int::text, true);\n",
            half = (self.wait / 2).as_millis().max(1),
            until = until.as_millis(),
        )
    }

    /// What the step does before it has any lock of a table, unless it is done. A
    /// try of ours whose connection was lost may still be at it: the lock on the
    /// step's record waits for it.
    fn beforehand(&self) -> String {
        let mut text = format!("DECLARE{STEP}BEGIN\n{}", self.read_step());
        text.push_str(&format!(
            "    IF {} THEN\n        RETURN;\n    END IF;\n",
            self.guarded.record.is_done_condition()
        ));
        execute(&mut text, &self.guarded.beforehand);
        text.push_str("END\n");
        text
    }

    /// Locks the step's record and reads how it stands.
    fn read_step(&self) -> String {
        let Guarded { fence, no, .. } = self.guarded;
        format!(
            "    SELECT s.state, s.undone INTO step_state, step_undone
    FROM pontoon.step s WHERE s.run = '{run}' AND s.no = {no} FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'run {run} has no step {no}' USING ERRCODE = '{BROKEN}';
    END IF;
",
            run = fence.run,
        )
    }

    /// The DO block: strong locks, the step unless it is done, the record,
    /// and the work that others deferred to the end of a transaction.
    fn block(&self) -> String {
        let guarded = self.guarded;
        let mut text = String::from(
            "DECLARE
    begun CONSTANT float8 := extract(epoch FROM pg_catalog.clock_timestamp());
    locked float8;",
        );
        text.push_str(STEP);
        text.push_str("BEGIN\n");
        for (place, lock) in self.locks.iter().filter(|lock| lock.lockable).enumerate() {
            if place > 0 {
                text.push_str(&self.wait_for_another());
            }
            text.push_str(&format!(
                "    LOCK TABLE {} IN {} MODE;\n",
                lock.only(),
                words(lock.mode)
            ));
        }
        // Nor for what LOCK TABLE could not take for us.
        text.push_str(&self.wait_for_another());
        let run = guarded.fence.run;
        let no = guarded.no;
        text.push_str(&format!(
            "    locked := extract(epoch FROM pg_catalog.clock_timestamp());
{read}    IF {done} THEN
        PERFORM pg_catalog.set_config('pontoon.guard', 'done', true);
        RETURN;
    END IF;
",
            read = self.read_step(),
            done = guarded.record.is_done_condition(),
        ));
        text.push_str(&guarded.before);
        execute(&mut text, &guarded.statements);
        text.push_str(&guarded.after);
        text.push_str(&guarded.record.update(
            run,
            no,
            &format!(
                "attempts = attempts + {attempts},
        wait_ms = wait_ms + {waited} + (locked - begun) * 1000,
        hold_ms = greatest(hold_ms, (extract(epoch FROM pg_catalog.clock_timestamp()) - locked) * 1000)",
                attempts = self.attempts,
                waited = self.waited_ms,
            ),
        ));
        text.push_str(
            "    SET CONSTRAINTS ALL IMMEDIATE;
    PERFORM pg_catalog.set_config('pontoon.guard', begun::text || ' ' || locked::text, true);
END
",
        );
        text
    }
}

fn execute(text: &mut String, statements: &[String]) {
    for statement in statements {
        text.push_str(&format!(
            "    EXECUTE {};\n",
            dollar_quote("pontoon_step", statement)
        ));
    }
}
