//! What the process itself costs: memory that does not grow with the table,
//! and a start that nobody notices.

use std::time::{Duration, Instant};

use pontoon_tests::{Pontoon, Running};

use crate::scene::{Scene, plan};

/// Resident memory, at its highest.
const MOST_KIB: u64 = 40 * 1024;

/// Rows of the table: 300,000, or as many as `PONTOON_MEMORY_ROWS` says.
fn rows() -> u64 {
    std::env::var("PONTOON_MEMORY_ROWS")
        .ok()
        .map_or(300_000, |text| {
            text.parse().expect("PONTOON_MEMORY_ROWS is a number")
        })
}

/// The high-water mark of the process's resident memory; `None` once it is gone.
fn peak(running: &Running) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid())).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// With four workers and every row in two mappings, until the end of verify.
#[tokio::test(flavor = "multi_thread")]
async fn resident_memory_is_constant() {
    for version in crate::versions() {
        let rows = rows();
        let scene = Scene::new(
            version,
            &format!(
                "CREATE TABLE t (id bigint PRIMARY KEY, amount integer NOT NULL, name text);
                 INSERT INTO t SELECT g, g, 'Name ' || g FROM generate_series(1, {rows}) g;
                 ANALYZE t"
            ),
        )
        .await;
        let path = scene.pontoon.plan(&plan(
            "memory",
            "backfill: {workers: 4}",
            "- change_type: {table: t, column: amount, to: numeric, as: exact}\n\
             - add_column: {table: t, column: {name: lowered, type: text}, up: lower(name)}",
        ));
        let mut running = scene.pontoon.spawn(&["run", &path]);
        let mut most = 0;
        // The mark never falls, so looking at each record is enough.
        while running.until(|_| true).await.is_some() {
            most = most.max(peak(&running).unwrap_or(0));
        }
        let (ended, _) = running.wait().await;
        ended.expect(5);
        eprintln!("{rows} rows: at most {most} KiB resident");
        assert!(most > 0, "the process was never measured");
        assert!(most < MOST_KIB, "{most} KiB");
        scene.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn help_starts_at_once() {
    let pontoon = Pontoon::new("postgresql://127.0.0.1:1/none");
    // The first call builds the binary and brings it into memory.
    pontoon.call(&["--help"]).await.expect(0);
    let bound = Duration::from_millis(if cfg!(debug_assertions) { 200 } else { 20 });
    let mut medians = Vec::new();
    // Other tests share the machine, so the best of some rounds counts.
    for _ in 0..10 {
        let mut times = Vec::new();
        for _ in 0..10 {
            let begun = Instant::now();
            pontoon.call(&["--help"]).await.expect(0);
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        medians.push(times[times.len() / 2]);
        if medians.iter().any(|median| *median < bound) {
            eprintln!("`pontoon --help` takes {medians:?}");
            return;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    panic!("`pontoon --help` takes {medians:?}");
}
