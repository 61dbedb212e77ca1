//! Rows per second of a backfill, beside what people write by hand.
//!
//! Each contestant changes all rows of a fresh copy of the table. A plain
//! `UPDATE`, and two of them side by side, one half each, show what the server
//! can do at all; no tool that changes rows by `UPDATE` is faster for long.
//! A dual write's backfill is compared with the same `UPDATE` of the same
//! table under the same triggers, and with one of a table without: the
//! difference is what any BEFORE trigger costs.

mod contestant;
mod loops;

use pontoon_sandbox::Server;

use self::contestant::{Contestant, Turn};
use crate::args::Arguments;
use crate::report::{Figure, Goal, Report};
use crate::table::{Key, Shape, Table, Work};
use crate::{Error, server};

/// Measures the grid.
pub(crate) async fn measure(
    server: &Server,
    arguments: &Arguments,
    report: &mut Report,
) -> Result<(), Error> {
    let mut by_size = Vec::new();
    for table in grid(arguments) {
        server::original(server, &table).await?;
        for work in [Work::Shapes, Work::Constant] {
            let figures = contest(server, arguments, &table, work).await?;
            if work == Work::Shapes && table.key == Key::Bigint && table.shape == Shape::Narrow {
                let ours = Contestant::Pontoon(1).name(work);
                by_size.extend(figures.iter().find(|figure| figure.contestant == ours).map(
                    |figure| Figure {
                        contestant: format!("{} rows", table.rows),
                        compared: None,
                        ..figure.clone()
                    },
                ));
            }
            report.add("rate", title(&table, work), figures);
        }
    }
    if let [smallest, .., largest] = by_size.as_slice() {
        let largest = largest.clone().beside(smallest, Some(Goal::AtLeast(0.9)));
        let mut figures = by_size.clone();
        figures.pop();
        figures.push(largest);
        report.add("rate", "rows/s as the table grows".to_owned(), figures);
    }
    Ok(())
}

fn title(table: &Table, work: Work) -> String {
    let what = match work {
        Work::Shapes => "two columns under a dual write",
        Work::Constant => "a constant, no triggers",
    };
    format!("{}: {what}", table.name())
}

fn grid(arguments: &Arguments) -> Vec<Table> {
    let table = |key, shape, rows| Table { key, shape, rows };
    let rows = arguments.rows_or(300_000, 1_000_000);
    let mut grid = vec![table(Key::Bigint, Shape::Narrow, rows)];
    if arguments.quick {
        return grid;
    }
    for (key, shape) in [
        (Key::Bigint, Shape::Wide),
        (Key::Bigint, Shape::Indexed),
        (Key::Uuid, Shape::Narrow),
        (Key::Composite, Shape::Narrow),
    ] {
        grid.push(table(key, shape, rows));
    }
    if arguments.rows.is_none() {
        for rows in [3_000_000, 10_000_000] {
            grid.push(table(Key::Bigint, Shape::Narrow, rows));
        }
    }
    grid
}

async fn contest(
    server: &Server,
    arguments: &Arguments,
    table: &Table,
    work: Work,
) -> Result<Vec<Figure>, Error> {
    let all = Contestant::all(work);
    let wanted = |one: &Contestant| arguments.keeps(&one.name(work));
    let contestants: Vec<Contestant> = all
        .iter()
        .copied()
        .filter(|one| {
            wanted(one)
                || all.iter().any(|other| {
                    wanted(other) && other.rivals(work).iter().any(|(rival, _)| rival == one)
                })
        })
        .collect();
    let mut turns: Vec<Vec<Turn>> = vec![Vec::new(); contestants.len()];
    let mut growth: Vec<Vec<f64>> = vec![Vec::new(); contestants.len()];
    for _ in 0..arguments.rounds() {
        for (at, contestant) in contestants.iter().enumerate() {
            turns[at].push(contestant.turn(server, table, work).await?);
            let (before, after) = server::sizes(server).await?;
            growth[at].push((after - before) / before * 100.0);
        }
    }
    let rows = f64::from(table.rows);
    let rates: Vec<Figure> = contestants
        .iter()
        .zip(&turns)
        .map(|(contestant, turns)| {
            let rates = turns.iter().map(|turn| rows / turn.wall.as_secs_f64());
            Figure::new(contestant.name(work), "rate", "rows/s", rates.collect())
        })
        .collect();
    let find = |wanted: Contestant| {
        let at = contestants.iter().position(|one| *one == wanted)?;
        rates.get(at)
    };
    let mut figures = Vec::new();
    for (((contestant, rate), turns), growth) in
        contestants.iter().zip(&rates).zip(&turns).zip(growth)
    {
        let mut compared: Vec<Figure> = contestant
            .rivals(work)
            .into_iter()
            .filter_map(|(rival, goal)| Some(rate.clone().beside(find(rival)?, goal)))
            .collect();
        if compared.is_empty() {
            compared.push(rate.clone());
        }
        figures.extend(compared);
        let costs: Vec<f64> = turns
            .iter()
            .map(|turn| turn.cpu.as_secs_f64() * 1e6 / rows)
            .collect();
        if costs.iter().any(|cost| *cost > 0.0) {
            figures.push(Figure::new(
                contestant.name(work),
                "server CPU",
                "µs/row",
                costs,
            ));
        }
        let name = contestant.name(work);
        figures.push(Figure::new(name, "table and indexes grew by", "%", growth));
    }
    Ok(figures)
}
