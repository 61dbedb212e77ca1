//! What several changes of one table cost in one plan.
//!
//! Operations on one table share its triggers, its backfill and its verify
//! pass, so five of them should take little more than one of them, and far
//! less than five plans one after another.

use std::time::Duration;

use pontoon_core::step::Phase;
use pontoon_sandbox::Server;

use crate::Error;
use crate::args::Arguments;
use crate::report::{Figure, Goal, Report};
use crate::server::{original, settle, turn};
use crate::sitting::{FULL_SPEED, Took, sit};
use crate::table::Table;

/// One of each kind of column change; the first one stands for itself.
const CHANGES: [&str; 5] = [
    "add_column: {table: users, column: {name: email_normalized, type: text}, up: lower(email)}",
    "change_type: {table: users, column: amount, to: bigint}",
    "change_type: {table: users, column: created_at, to: timestamp, up: \"created_at AT TIME ZONE 'UTC'\"}",
    "add_column: {table: users, column: {name: initial, type: text}, up: \"left(email, 1)\"}",
    "rename_column: {table: users, from: note, to: remark}",
];

/// Who has a turn.
#[derive(Clone, Copy)]
enum Contestant {
    One,
    Together,
    OneByOne,
}

impl Contestant {
    const ALL: [Self; 3] = [Self::One, Self::Together, Self::OneByOne];

    fn name(self) -> &'static str {
        match self {
            Self::One => "one change",
            Self::Together => "five changes in one plan",
            Self::OneByOne => "the same in five plans",
        }
    }

    /// The operations of each plan.
    fn plans(self) -> Vec<&'static [&'static str]> {
        match self {
            Self::One => vec![&CHANGES[..1]],
            Self::Together => vec![&CHANGES[..]],
            Self::OneByOne => CHANGES.chunks(1).collect(),
        }
    }
}

/// Measures them.
pub(crate) async fn measure(
    server: &Server,
    arguments: &Arguments,
    report: &mut Report,
) -> Result<(), Error> {
    let table = Table::usual(arguments.rows_or(300_000, 1_000_000));
    original(server, &table).await?;
    let mut turns: [Vec<Took>; 3] = Default::default();
    for _ in 0..arguments.rounds() {
        for (contestant, turns) in Contestant::ALL.into_iter().zip(&mut turns) {
            turns.push(whole(server, contestant).await?);
        }
    }
    let figures = |what: &'static str, seconds: fn(&Took) -> Duration| {
        let [one, together, one_by_one] = [0, 1, 2].map(|at: usize| {
            let rounds = turns[at].iter().map(|took| seconds(took).as_secs_f64());
            Figure::new(Contestant::ALL[at].name(), what, "s", rounds.collect())
        });
        let beside_one = together.clone().beside(&one, None);
        let beside_five = together.beside(&one_by_one, Some(Goal::AtMost(0.5)));
        [one, beside_one, beside_five, one_by_one]
    };
    let mut all = Vec::new();
    all.extend(figures("backfill and verify", |took| {
        took.backfill + took.verify
    }));
    all.extend(figures("server CPU of the backfill", |took| {
        took.backfill_cpu
    }));
    all.extend(figures("all sittings, to the end", |took| took.whole));
    report.add("composition", table.name(), all);
    Ok(())
}

/// All plans of a contestant to their ends, on a fresh copy of the table.
async fn whole(server: &Server, contestant: Contestant) -> Result<Took, Error> {
    let client = turn(server).await?;
    settle(&client).await?;
    let mut sum = Took::default();
    for (at, changes) in contestant.plans().into_iter().enumerate() {
        let operations: String = changes
            .iter()
            .map(|change| format!("  - {change}\n"))
            .collect();
        let plan = format!(
            "plan: bench-{at}\nversion: {}\ngates: []\nbackfill: {{{FULL_SPEED}}}\noperations:\n{operations}",
            at + 1
        );
        let took = sit(server, &plan, Phase::Contract).await?;
        sum.whole += took.whole;
        sum.backfill += took.backfill;
        sum.backfill_cpu += took.backfill_cpu;
        sum.verify += took.verify;
    }
    Ok(sum)
}
