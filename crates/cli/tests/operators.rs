//! What an operator types, on a real server.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pontoon_sandbox::TestDatabase;
use serde_json::Value;

/// Pontoon against a table of its own.
struct Desk {
    database: TestDatabase,
    directory: tempfile::TempDir,
}

/// A run under way, as lines.
struct Sitting {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Desk {
    async fn new(rows: u32) -> Self {
        let database = TestDatabase::create(None).await.expect("a database");
        let client = database.client().await.expect("a connection");
        client
            .batch_execute(&format!(
                "CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL);
                 INSERT INTO users SELECT g, 'User' || g || '@Example.com' FROM generate_series(1, {rows}) g;
                 ANALYZE users"
            ))
            .await
            .expect("a table");
        let desk = Self {
            database,
            directory: tempfile::tempdir().expect("a directory"),
        };
        desk.plan("emails", "{max_batch_rows: 50}");
        desk
    }

    fn plan(&self, name: &str, limits: &str) -> PathBuf {
        let path = self.directory.path().join(format!("{name}.yaml"));
        let text = format!(
            "plan: {name}\nversion: 1\nlimits: {limits}\n\
             gates:\n  - {{before: contract, message: app 4.2 everywhere}}\n\
             operations:\n  - add_column:\n      table: users\n      \
             column: {{name: {name}_normalized, type: text, nullable: false}}\n      up: lower(email)\n"
        );
        std::fs::write(&path, text).expect("a file");
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pontoon"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env("DATABASE_URL", self.database.url())
            .env("PONTOON_USER", "ada")
            .stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn call(&self, arguments: &[&str], code: i32) -> String {
        let output: Output = self.command(arguments).output().expect("pontoon runs");
        let told = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        told
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let told = self.call(&[arguments, &["--output", "json"]].concat(), 0);
        serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"))
    }

    fn sit(&self, arguments: &[&str]) -> Sitting {
        let mut child = self
            .command(&[&["run", "emails.yaml", "--output", "json"], arguments].concat())
            .stdout(Stdio::piped())
            .spawn()
            .expect("pontoon runs");
        let stdout = child.stdout.take().expect("stdout is piped");
        Sitting {
            child,
            lines: BufReader::new(stdout).lines(),
        }
    }
}

impl Sitting {
    /// Reads until an event comes, and returns its line.
    #[track_caller]
    fn until(&mut self, event: &str) -> Value {
        for line in self.lines.by_ref() {
            let line: Value = serde_json::from_str(&line.expect("text")).expect("JSON");
            if line["event"] == event {
                return line;
            }
        }
        panic!("{event} never came");
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        kill(pid, signal).expect("it is ours and not awaited");
    }

    /// The exit code, and the last line.
    #[track_caller]
    fn end(mut self) -> (Option<i32>, Value) {
        let last = self.until("exit");
        assert!(self.lines.next().is_none(), "a line comes after the last");
        let status = self.child.wait().expect("it ends");
        (status.code(), last)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_init_to_history() {
    let desk = Desk::new(500).await;
    let sql = desk.call(&["init", "--print-sql", "--app-role", "web"], 0);
    assert!(
        sql.contains("CREATE SCHEMA") && sql.contains("\"web\""),
        "{sql}"
    );
    assert_eq!(desk.json(&["status"]), serde_json::json!({"runs": []}));
    let totals = serde_json::json!({
        "runs": 0, "completed": 0, "rolled_back": 0, "unfinished": 0, "rows_changed": 0,
    });
    assert_eq!(
        desk.json(&["history"]),
        serde_json::json!({"runs": [], "totals": totals})
    );
    desk.call(&["init"], 0);
    desk.call(&["init"], 0);

    let told = desk.call(&["run", "emails.yaml", "--until", "backfill"], 0);
    assert!(told.contains("Hint: pontoon run emails.yaml\n"), "{told}");
    let told = desk.call(&["run", "emails.yaml"], 5);
    assert!(told.contains("app 4.2 everywhere"), "{told}");
    let status = desk.json(&["status", "emails"]);
    assert_eq!(status["schema"], 1);
    assert_eq!(status["state"], "waiting");
    assert_eq!(status["gate"], "contract");
    assert_eq!(status["waiting_for"], "approval of gate contract");
    assert_eq!(status["reason"], "app 4.2 everywhere");
    assert_eq!(status["verify"]["clean"], true);
    assert_eq!(status["verify"]["checked"], 500);
    assert_eq!(status["backfill"][0]["table"], "public.users");
    assert_eq!(status["backfill"][0]["rows_done"], 500);
    assert_eq!(status["locks"]["budget_ms"], 500);
    assert_eq!(status["holder"], Value::Null);
    let run = status["run"].as_str().expect("an id").to_owned();
    assert_eq!(status["next"], format!("pontoon approve {run} contract"));
    let text = desk.call(&["status"], 0);
    assert!(
        text.starts_with("emails stands at the gate before contract and waits for approval.\n"),
        "{text}"
    );
    assert!(
        text.ends_with(&format!("Hint: pontoon approve {run} contract\n")),
        "{text}"
    );

    // What status says is what is typed.
    let next = status["next"].as_str().expect("text").to_owned();
    let words: Vec<&str> = next.split(' ').skip(1).collect();
    desk.call(&words, 0);
    assert!(desk.call(&words, 0).contains("approved before, by ada@"));
    let next = desk.json(&["status", &run[..20]])["next"].clone();
    assert_eq!(next, "pontoon run emails.yaml");
    desk.call(&["run", "emails.yaml"], 0);

    let told = desk.call(&["run", "emails.yaml"], 0);
    assert!(told.contains("nothing to do"), "{told}");
    let history = desk.json(&["history"]);
    assert_eq!(history["runs"][0]["state"], "completed");
    assert_eq!(history["runs"][0].get("steps"), None);
    assert!(history["runs"][0]["finished_at"].is_string());
    let events = desk.call(&["events", "--output", "json"], 0);
    let events: Vec<Value> = events
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert!(
        events
            .iter()
            .all(|event| event["run"] == run.as_str() && event["v"] == 1)
    );
    let approved = events
        .iter()
        .find(|event| event["event"] == "gate_approved");
    let by = approved.expect("it is stored")["by"]
        .as_str()
        .expect("text");
    assert!(by.starts_with("ada@"), "{by}");
    for verb in ["pause", "resume", "verify"] {
        desk.call(&[verb], 2);
    }
    desk.call(&["rollback"], 4);
    desk.call(&["pause", &run], 4);
    desk.call(&["approve", &run, "contract"], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_ends_the_run_and_only_resume_lifts_it() {
    let desk = Desk::new(60_000).await;
    let mut sitting = desk.sit(&[]);
    sitting.until("backfill_progress");
    let told = desk.call(&["pause"], 0);
    assert!(told.contains("pauses after the batch under way"), "{told}");
    let (code, last) = sitting.end();
    assert_eq!(
        (code, &last["code"], &last["state"]),
        (Some(11), &11.into(), &"paused".into())
    );
    let status = desk.json(&["status", "emails"]);
    assert_eq!(status["waiting_for"], "an operator's resume");
    assert!(
        status["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("ada@")),
        "{status}"
    );
    let told = desk.call(&["run", "emails.yaml"], 11);
    assert!(told.contains("pontoon resume"), "{told}");
    desk.call(&["resume"], 0);
    desk.plan("emails", "{max_batch_rows: 5000}");
    desk.call(&["run", "emails.yaml"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_end_the_run_and_leave_it_resumable() {
    let desk = Desk::new(60_000).await;
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut sitting = desk.sit(&[]);
        sitting.until("backfill_progress");
        sitting.signal(signal);
        let (code, last) = sitting.end();
        assert_eq!(
            (code, &last["code"], &last["state"]),
            (Some(6), &6.into(), &"running".into())
        );
        let status = desk.json(&["status", "emails"]);
        assert_eq!(status["holder"], Value::Null, "{status}");
        assert_eq!(status["waiting_for"], "a process that runs it");
        assert_eq!(status["next"], "pontoon run emails.yaml");
    }
    desk.plan("emails", "{max_batch_rows: 5000}");
    desk.call(&["run", "emails.yaml"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_told_who_holds_the_run() {
    let desk = Desk::new(60_000).await;
    let mut sitting = desk.sit(&[]);
    sitting.until("backfill_progress");
    let told = desk.call(&["run", "emails.yaml"], 9);
    assert!(told.contains(&sitting.child.id().to_string()), "{told}");
    let status = desk.json(&["status", "emails"]);
    let holder = status["holder"].as_str().expect("it is held");
    assert!(holder.starts_with("ada@"), "{holder}");
    assert_eq!(status["next"], Value::Null, "{status}");
    assert!(
        desk.call(&["set", "max-batch-rows", "5000"], 0)
            .contains("Set max-batch-rows")
    );
    let told = desk.call(&["set", "wokers", "5"], 2);
    assert!(told.contains("Did you mean `workers`?"), "{told}");
    let (code, _) = sitting.end();
    assert_eq!(code, Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_at_its_gate_goes_on_when_it_is_approved() {
    let desk = Desk::new(100).await;
    let mut sitting = desk.sit(&["--wait-gates"]);
    sitting.until("gate_reached");
    desk.call(&["approve", "contract"], 0);
    let (code, last) = sitting.end();
    assert_eq!((code, &last["state"]), (Some(0), &"completed".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_named_by_id_beginning_or_plan() {
    let desk = Desk::new(100).await;
    let names = desk.plan("names", "{max_batch_rows: 50}");
    // Two plans that keep shapes in step do not share a table.
    let text = std::fs::read_to_string(&names).expect("a plan");
    std::fs::write(&names, text.replace("table: users", "table: people")).expect("a file");
    let client = desk.database.client().await.expect("a connection");
    client
        .batch_execute("CREATE TABLE people AS TABLE users")
        .await
        .expect("a table");
    desk.call(&["run", "emails.yaml"], 5);
    desk.call(&["run", "names.yaml", "--until", "expand"], 0);
    let told = desk.call(&["approve", "contract"], 2);
    assert!(told.contains("emails") && told.contains("names"), "{told}");
    let table = desk.call(&["status"], 0);
    assert_eq!(table.lines().count(), 3, "{table}");
    let runs = desk.json(&["status"]);
    assert_eq!(runs["runs"][0]["plan"], "names", "the newest comes first");
    let id = runs["runs"][1]["run"].as_str().expect("an id").to_owned();
    for name in [id.as_str(), &id[..30], "emails"] {
        assert_eq!(desk.json(&["status", name])["run"], id.as_str(), "{name}");
    }
    desk.call(&["status", &id[..4]], 2);
    desk.call(&["status", "nobody"], 2);
    desk.call(&["rollback", "names"], 0);
    assert_eq!(desk.json(&["status", "names"])["state"], "rolled_back");
    let table = desk.call(&["history", "-v"], 0);
    assert!(
        table.contains("waiting at contract") && table.contains(&id),
        "{table}"
    );
    desk.call(&["run", "names.yaml", "--until", "expand"], 0);
    let table = desk.call(&["history"], 0);
    assert!(
        table.contains("paused in expand") && !table.contains(&id),
        "{table}"
    );
    assert!(
        table.ends_with("3 runs: 0 completed, 2 unfinished, 1 rolled back; 100 rows changed.\n"),
        "{table}"
    );
    // All that is unfinished, the newest first; then there is nothing.
    desk.call(&["rollback", "--all", "emails"], 2);
    let told = desk.call(&["rollback", "--all"], 0);
    assert_eq!(told.matches("was rolled back").count(), 2, "{told}");
    desk.call(&["rollback", "--all"], 0);
    let runs = desk.json(&["history"]);
    assert_eq!(runs["totals"]["rolled_back"], 3, "{runs}");
    let taken_back = |run: usize| runs["runs"][run]["finished_at"].as_str().map(str::to_owned);
    assert!(taken_back(0) < taken_back(2), "{runs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn until_means_a_gate_or_a_phase() {
    let desk = Desk::new(100).await;
    let phase = |desk: &Desk| desk.json(&["status", "emails"])["phase"].clone();
    desk.call(&["run", "emails.yaml", "--until", "expand"], 0);
    assert_eq!(phase(&desk), "expand");
    desk.call(&["run", "emails.yaml", "--until", "dual_write"], 0);
    assert_eq!(phase(&desk), "dual_write");
    // The gate's name ends in front of it with success, where nobody named it is code 5.
    desk.call(&["run", "emails.yaml", "--until", "contract"], 0);
    desk.call(&["run", "emails.yaml"], 5);
    desk.call(&["verify"], 0);
    let told = desk.call(&["run", "emails.yaml", "--approve", "expand"], 2);
    assert!(told.contains("gate before contract"), "{told}");
    desk.call(&["run", "emails.yaml", "--approve", "contract"], 0);
}
