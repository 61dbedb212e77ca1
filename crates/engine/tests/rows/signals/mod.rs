//! What the signals measure, each against the real condition.

mod outside;
mod server;
mod standbys;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pontoon_core::plan::signals::{Watched, watched};
use pontoon_engine::db::{DbError, Reading, Sample, Sampler};

/// How long a test waits for a condition to come about.
const PATIENCE: Duration = Duration::from_secs(60);

/// A signal as a plan would name it.
fn signal(name: &str, text: &str) -> Watched {
    let throttle = BTreeMap::from([(name.to_owned(), text.to_owned())]);
    watched(&throttle)
        .into_iter()
        .find(|watched| watched.signal.name == name)
        .expect("it is on")
}

/// How many sessions wait for the run.
pub(crate) async fn blocked_sessions(bed: &crate::support::Bed) -> f64 {
    let mut sampler = pontoon_engine::db::Database::sampler(&bed.pg, bed.fence.run);
    value(&mut sampler, "blocked_sessions").await
}

/// All readings; a change over time is waited for.
async fn readings(sampler: &mut impl Sampler, name: &str, text: &str) -> Vec<Reading> {
    let watched = signal(name, text);
    let begun = Instant::now();
    loop {
        match sampler.sample(&watched).await.expect("it can be read") {
            Sample::Readings(readings) => return readings,
            Sample::NotYet => {
                assert!(begun.elapsed() < PATIENCE, "{name} never comes");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn fails(sampler: &mut impl Sampler, name: &str, text: &str) -> DbError {
    match sampler.sample(&signal(name, text)).await {
        Err(error) => error,
        Ok(sample) => panic!("{name} was read: {sample:?}"),
    }
}

/// The one reading that there is.
async fn value(sampler: &mut impl Sampler, name: &str) -> f64 {
    let found = readings(sampler, name, "on").await;
    assert_eq!(found.len(), 1, "{found:?}");
    *found[0].value.as_ref().expect("it may be known")
}

/// Samples until a reading is as wanted, and returns that.
async fn until(
    sampler: &mut impl Sampler,
    name: &str,
    text: &str,
    wanted: impl Fn(&Reading) -> bool,
) -> Reading {
    let begun = Instant::now();
    loop {
        let found = readings(sampler, name, text).await;
        if let Some(reading) = found.iter().find(|reading| wanted(reading)) {
            return reading.clone();
        }
        assert!(begun.elapsed() < PATIENCE, "{name} stays at {found:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Is it a reading of this measure and in this range?
fn within(reading: &Reading, measure: &str, range: std::ops::Range<f64>) -> bool {
    reading.measure == measure
        && reading
            .value
            .as_ref()
            .is_ok_and(|value| range.contains(value))
}
