//! What each fault does, to a process that stands still at a boundary or is
//! anywhere on its way.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use pontoon_sandbox::tcp_proxy::Moment;
use pontoon_tests::Running;
use rand::Rng;
use rand::rngs::StdRng;
use tokio_postgres::Client;

use super::case::Fault;
use super::stage::{Stage, remove, run};

/// How long a fault waits to hit something.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came of a strike.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Struck {
    /// Whether it hit anything.
    pub(crate) hit: bool,
    /// Another process has brought the run to the sitting's goal.
    pub(crate) reached: bool,
}

/// The sitting that is struck.
pub(crate) struct Sitting<'a> {
    pub(crate) stage: &'a Stage<'a>,
    pub(crate) arguments: &'a [&'a str],
    pub(crate) goal: i32,
}

impl Sitting<'_> {
    /// Does it, and lets the process go on.
    pub(crate) async fn strike(
        &self,
        fault: Fault,
        running: &mut Running,
        random: &mut StdRng,
    ) -> Struck {
        let lane = self.stage.lane;
        let hit = match fault {
            Fault::Kill => {
                running.signal(Signal::SIGKILL);
                // The end of the process says whether it was in time.
                true
            }
            Fault::Stop | Fault::StopLong => return self.stop(fault, running, random).await,
            Fault::Terminate => self.terminate(running, random).await,
            Fault::Restart => {
                let hit = lane.proxy.open_connections() > 0;
                let pause = Duration::from_millis(random.random_range(0..1500));
                if random.random() {
                    go_on(running);
                }
                lane.restart(pause).await;
                hit
            }
            Fault::CutBefore | Fault::CutAfter => self.cut(fault, running, random).await,
            Fault::Hang | Fault::HangLong => {
                let hit = lane.proxy.open_connections() > 0;
                lane.proxy.hang();
                go_on(running);
                if fault == Fault::Hang {
                    tokio::time::sleep(Duration::from_millis(random.random_range(500..2500))).await;
                } else {
                    // Local trust ends 12 s after the last heartbeat.
                    let begun = Instant::now();
                    while running.state().is_some() {
                        assert!(
                            begun.elapsed() < Duration::from_secs(120),
                            "a process whose connections hang does not give up"
                        );
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
                lane.proxy.pass();
                hit
            }
            Fault::DiskData | Fault::DiskWal => self.fill_disk(fault, running, random).await,
            Fault::Clock => self.turn_clock(running, random).await,
            Fault::Second => return self.second(running).await,
            Fault::Locked => self.lock(running, random).await,
        };
        go_on(running);
        Struck {
            hit,
            reached: false,
        }
    }

    /// Another process takes over; the first one wakes up and changes nothing.
    async fn stop(&self, fault: Fault, running: &mut Running, random: &mut StdRng) -> Struck {
        running.signal(Signal::SIGSTOP);
        if !running.stopped().await {
            return Struck::default();
        }
        let pid = running.pid();
        let client = self.stage.client().await;
        let holds = holds(&client, pid).await;
        if holds {
            if fault == Fault::Stop {
                run(
                    &client,
                    "UPDATE pontoon.lease SET expires_at = now() - interval '1 ms'",
                )
                .await;
            } else {
                tokio::time::sleep(Duration::from_secs(16)).await;
            }
        }
        let mut next = self.stage.pontoon.spawn(self.arguments);
        let early: bool = random.random_bool(0.4);
        if early {
            // Wakes in the middle of the other's work.
            if next.event("lease_taken").await.is_some() {
                tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
            }
            go_on(running);
        }
        let (ended, _) = next.wait().await;
        if !early {
            // A run that had ended already was not taken over.
            let robbed = holds && !self::holds(&client, pid).await;
            let before = contents(&client).await;
            go_on(running);
            let begun = Instant::now();
            while running.state().is_some() {
                assert!(begun.elapsed() < PATIENCE * 2, "the zombie does not end");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let after = contents(&client).await;
            // A process that finds nobody there may hold the run lawfully,
            // under a term of its own; the oracle judges what it does then.
            // In a run that has ended it finds no work: only the term counts.
            let ended_run = over(&before);
            let lawful = !ended_run && term(&after) != term(&before);
            if robbed && ended.code == Some(self.goal) && !lawful {
                let changed: Vec<&String> = after
                    .symmetric_difference(&before)
                    .filter(|row| !(ended_run && row.starts_with("lease ")))
                    .collect();
                assert!(changed.is_empty(), "the zombie has changed {changed:#?}");
            }
        }
        let reached = ended.code == Some(self.goal);
        assert!(
            reached || (!holds && ended.code == Some(9)) || (early && ended.code == Some(9)),
            "the other process ended with {:?}:\n{}\n{}",
            ended.code,
            ended.stdout,
            ended.stderr
        );
        Struck { hit: true, reached }
    }

    async fn terminate(&self, running: &Running, random: &mut StdRng) -> bool {
        let client = self.stage.client().await;
        let mut hit = false;
        for round in 0..random.random_range(1..5) {
            if round > 0 {
                tokio::time::sleep(Duration::from_millis(random.random_range(5..150))).await;
            }
            let share: f64 = if random.random() { 1.0 } else { 0.5 };
            let ended = client
                .query(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE application_name LIKE 'pontoon/%' AND datname = current_database()
                     AND random() <= $1",
                    &[&share],
                )
                .await
                .expect("sessions can be ended");
            hit |= ended.iter().any(|row| row.get(0));
            go_on(running);
        }
        hit
    }

    async fn cut(&self, fault: Fault, running: &Running, random: &mut StdRng) -> bool {
        let proxy = &self.stage.lane.proxy;
        let moment = if fault == Fault::CutBefore {
            Moment::Before
        } else {
            Moment::After
        };
        let before = proxy.cuts();
        // Around a commit, or around any message at all.
        let fragment = if random.random_bool(0.7) {
            "commit"
        } else {
            ""
        };
        proxy.cut_at(fragment, moment, random.random_range(0..3));
        go_on(running);
        let begun = Instant::now();
        while proxy.cuts() == before && running.state().is_some() && begun.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // What did not come about must not hit a later sitting.
        let hit = proxy.cuts() > before;
        if !hit {
            proxy.cut_at("no statement says this", moment, 0);
        }
        hit
    }

    async fn fill_disk(&self, fault: Fault, running: &Running, random: &mut StdRng) -> bool {
        let lane = self.stage.lane;
        let flag = lane.shim.join(if fault == Fault::DiskData {
            "full-data"
        } else {
            "full-wal"
        });
        let before = lane.refused();
        std::fs::write(&flag, "").expect("the flag can be put up");
        go_on(running);
        let begun = Instant::now();
        while lane.refused() == before && running.state().is_some() && begun.elapsed() < PATIENCE {
            if fault == Fault::DiskWal
                && let Ok(client) = lane.server.client("postgres").await
            {
                // The next segment of the log is needed now; the session that
                // asks for it may be the one to see the server panic.
                let asked = client
                    .batch_execute("SELECT pg_logical_emit_message(false, 'fill', 'x'); SELECT pg_switch_wal(); SELECT pg_logical_emit_message(false, 'fill', 'x')")
                    .await;
                drop(asked);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..600))).await;
        remove(&flag);
        if fault == Fault::DiskWal {
            // A server whose recovery found the disk full has ended for good.
            lane.restart(Duration::ZERO).await;
        }
        lane.refused() > before
    }

    async fn turn_clock(&self, running: &Running, random: &mut StdRng) -> bool {
        let file = clock(self.stage);
        go_on(running);
        let begun = Instant::now();
        let hits = file.with_extension("clock.hits");
        while running.state().is_some() && begun.elapsed() < PATIENCE {
            let seconds: i64 = match random.random_range(0..6) {
                0 => 86_400,
                1 => -86_400,
                2 => random.random_range(-30..30),
                // A machine that has forgotten what year it is.
                3 => -1_700_000_000,
                4 => 1_000_000_000,
                _ => random.random_range(-4_000..4_000),
            };
            std::fs::write(&file, seconds.to_string()).expect("the clock can be turned");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        remove(&file);
        let hit = hits.exists();
        remove(&hits);
        hit
    }

    /// Both run at once; whoever has the lease goes on.
    async fn second(&self, running: &mut Running) -> Struck {
        let other = self.stage.pontoon.spawn(self.arguments);
        let hit = running.state().is_some();
        go_on(running);
        let (ended, _) = other.wait().await;
        assert!(
            ended.code == Some(self.goal) || ended.code == Some(9),
            "the second runner ended with {:?}:\n{}\n{}",
            ended.code,
            ended.stdout,
            ended.stderr
        );
        Struck {
            hit,
            reached: ended.code == Some(self.goal),
        }
    }

    async fn lock(&self, running: &Running, random: &mut StdRng) -> bool {
        let client = self.stage.client().await;
        let table = ["run", "lease", "step", "event"][random.random_range(0..4)];
        let known = format!("SELECT to_regclass('pontoon.{table}') IS NOT NULL");
        let begun = Instant::now();
        while !client
            .query_one(&known, &[])
            .await
            .expect("the catalog")
            .get::<_, bool>(0)
        {
            go_on(running);
            if running.state().is_none() || begun.elapsed() > PATIENCE {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        run(
            &client,
            &format!("BEGIN; LOCK TABLE pontoon.{table} IN ACCESS EXCLUSIVE MODE"),
        )
        .await;
        go_on(running);
        let hold = Duration::from_millis(match random.random_range(0..4) {
            0 => 20_000,
            1 => 6_000,
            _ => random.random_range(300..3_000),
        });
        let begun = Instant::now();
        let mut hit = false;
        while begun.elapsed() < hold && running.state().is_some() {
            hit |= client
                .query_one(
                    "SELECT EXISTS (SELECT FROM pg_stat_activity
                     WHERE application_name LIKE 'pontoon/%' AND datname = current_database()
                     AND pg_backend_pid() = ANY (pg_blocking_pids(pid)))",
                    &[],
                )
                .await
                .expect("the sessions")
                .get::<_, bool>(0);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        run(&client, "COMMIT").await;
        hit
    }
}

/// The file that says how far the clock of a case's processes is off.
pub(crate) fn clock(stage: &Stage<'_>) -> std::path::PathBuf {
    stage.lane.shim.join(format!("{}.clock", stage.name))
}

/// SIGCONT; of no effect on a process that runs.
fn go_on(running: &Running) {
    if running.state().is_some() {
        running.signal(Signal::SIGCONT);
    }
}

/// Whether this process holds the run.
async fn holds(client: &Client, pid: u32) -> bool {
    let known = client
        .query_one("SELECT to_regclass('pontoon.lease') IS NOT NULL", &[])
        .await
        .expect("the catalog");
    if !known.get::<_, bool>(0) {
        return false;
    }
    let rows = client
        .query(
            "SELECT FROM pontoon.lease WHERE token IS NOT NULL AND holder->>'pid' = $1",
            &[&pid.to_string()],
        )
        .await
        .expect("the lease can be read");
    !rows.is_empty()
}

/// The term of the lease among these rows.
fn term(contents: &BTreeSet<String>) -> Option<&str> {
    let lease = contents.iter().find(|row| row.starts_with("lease "))?;
    lease.split_once("\"epoch\": ")?.1.split(',').next()
}

/// Whether the run has ended for good.
fn over(contents: &BTreeSet<String>) -> bool {
    let ends = [r#""state": "completed""#, r#""state": "rolled_back""#];
    let mut runs = contents.iter().filter(|row| row.starts_with("run "));
    runs.any(|run| ends.iter().any(|end| run.contains(end)))
}

/// Every row in our tables, without what is long and never changes.
async fn contents(client: &Client) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for table in ["run", "step", "range", "lease", "event", "approval"] {
        let rows = client
            .query(
                &format!(
                    "SELECT '{table} ' || (to_jsonb(t) - 'program' - 'operations' - 'definition')::text FROM pontoon.{table} t"
                ),
                &[],
            )
            .await
            .expect("our tables can be read");
        all.extend(rows.iter().map(|row| row.get::<_, String>(0)));
    }
    all
}
