//! The binary as a child process.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// How long a command may take before the test says that it hangs.
const HANG: Duration = Duration::from_secs(120);

/// Pontoon against one database, with a directory of its own for plans.
#[derive(Debug)]
pub struct Pontoon {
    url: String,
    directory: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

/// A command that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The exit code; `None` when a signal ended the process.
    pub code: Option<i32>,
    /// The signal that ended the process.
    pub signal: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// A command that is under way, started with `--output json`.
#[derive(Debug)]
pub struct Running {
    child: Child,
    records: tokio::sync::mpsc::UnboundedReceiver<Value>,
    seen: Vec<Value>,
    stderr: JoinHandle<String>,
}

impl Pontoon {
    /// Pontoon against the database at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            directory: tempfile::tempdir().expect("a temporary directory can be made"),
            environment: Vec::new(),
        }
    }

    /// The same with one more environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The database.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Writes a file beside the plans, in a folder where its name says so, and
    /// returns its path.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).expect("the folder can be made");
        }
        std::fs::write(&path, text).expect("the file can be written");
        path
    }

    /// Writes `plan.yaml` and returns its path as text.
    pub fn plan(&self, text: &str) -> String {
        self.file("plan.yaml", text).display().to_string()
    }

    /// Runs a command to its end.
    pub async fn call(&self, arguments: &[&str]) -> Finished {
        self.call_with(arguments, &[]).await
    }

    /// Runs a command to its end, with further environment variables.
    pub async fn call_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Finished {
        let mut command = self.command(arguments);
        for (name, value) in environment {
            command.env(name, value);
        }
        let output = tokio::time::timeout(HANG, command.output())
            .await
            .unwrap_or_else(|_| panic!("`pontoon {}` hangs", arguments.join(" ")))
            .expect("the binary can be started");
        Finished {
            code: output.status.code(),
            signal: output.status.signal(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a plan to its end, with contract approved.
    pub async fn approved(&self, path: &str) -> Finished {
        self.call(&approved(path)).await
    }

    /// Starts a command with `--output json` and goes on.
    pub fn spawn(&self, arguments: &[&str]) -> Running {
        self.spawn_with(arguments, &[])
    }

    /// [`Pontoon::spawn`] with further environment variables.
    pub fn spawn_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Running {
        let mut command = self.command(arguments);
        command.args(["--output", "json"]);
        for (name, value) in environment {
            command.env(name, value);
        }
        let mut child = command.spawn().expect("the binary can be started");
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut stderr = child.stderr.take().expect("stderr is piped");
        let (sender, records) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stdout);
            let mut line = String::new();
            loop {
                line.clear();
                match lines.read_line(&mut line).await {
                    // A process that was killed may leave a line unfinished.
                    Ok(1..) if line.ends_with('\n') => {}
                    _ => return,
                }
                let record = serde_json::from_str(&line)
                    .unwrap_or_else(|error| panic!("a line is not JSON ({error}): {line}"));
                if sender.send(record).is_err() {
                    return;
                }
            }
        });
        let stderr = tokio::spawn(async move {
            let mut text = String::new();
            // A child that was killed in the middle of a character has still said something.
            let _incomplete = stderr.read_to_string(&mut text).await;
            text
        });
        Running {
            child,
            records,
            seen: Vec::new(),
            stderr,
        }
    }

    /// Starts a run with contract approved, as [`Pontoon::spawn`] does.
    pub fn spawn_approved(&self, path: &str) -> Running {
        self.spawn(&approved(path))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.directory.path())
            .env("USER", "tester")
            .env("DATABASE_URL", &self.url)
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        command
    }
}

fn approved(path: &str) -> [&str; 4] {
    ["run", path, "--approve", "contract"]
}

impl Finished {
    /// The JSON records on standard output, one a line.
    pub fn records(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| {
                serde_json::from_str(line)
                    .unwrap_or_else(|error| panic!("a line is not JSON ({error}): {line}"))
            })
            .collect()
    }

    /// Standard output as one JSON document.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| {
            panic!(
                "standard output is not JSON ({error}):\n{}\n{}",
                self.stdout, self.stderr
            )
        })
    }

    /// Everything that it said, on both streams.
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Fails the test with all output unless the command ended with `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }
}

impl Running {
    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the child has not been waited for")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).expect("a process id fits");
        kill(Pid::from_raw(pid), signal).expect("the child can be signalled");
    }

    /// What the process does now, as the kernel says it: `T` when it was
    /// stopped, `None` when it has ended.
    pub fn state(&self) -> Option<char> {
        let path = format!("/proc/{}/stat", self.child.id()?);
        let stat = std::fs::read_to_string(path).ok()?;
        let state = stat.rsplit_once(')')?.1.trim_start().chars().next()?;
        (state != 'Z').then_some(state)
    }

    /// Waits until the process lies still after SIGSTOP; false when it ends
    /// instead.
    pub async fn stopped(&self) -> bool {
        let begun = Instant::now();
        loop {
            match self.state() {
                Some('T') => return true,
                None => return false,
                Some(_) => {}
            }
            assert!(begun.elapsed() < HANG, "the process neither stops nor ends");
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }

    /// Waits until a record satisfies `wanted`, and returns it. `None` when
    /// the process ended before that.
    pub async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        let deadline = Instant::now() + HANG;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let record = tokio::time::timeout(left, self.records.recv())
                .await
                .expect("the record comes before the test gives up")?;
            self.seen.push(record.clone());
            if wanted(&record) {
                return Some(record);
            }
        }
    }

    /// Waits until an event of this name comes.
    pub async fn event(&mut self, name: &str) -> Option<Value> {
        self.until(|record| record["event"] == name).await
    }

    /// Records seen so far.
    pub fn seen(&self) -> &[Value] {
        &self.seen
    }

    /// Waits for the end and returns it with everything that was said.
    pub async fn wait(mut self) -> (Finished, Vec<Value>) {
        let status = tokio::time::timeout(HANG, self.child.wait())
            .await
            .expect("the child ends before the test gives up")
            .expect("the child can be waited for");
        while let Some(record) = self.records.recv().await {
            self.seen.push(record);
        }
        let stderr = self.stderr.await.expect("the reader of stderr lives");
        let stdout = self
            .seen
            .iter()
            .map(|record| format!("{record}\n"))
            .collect();
        (
            Finished {
                code: status.code(),
                signal: status.signal(),
                stdout,
                stderr,
            },
            self.seen,
        )
    }
}

/// The binary of this workspace in this profile, brought up to date once per
/// test process. It is built as one of the workspace, with the features of
/// `cargo test --workspace`, whose dependencies then serve it as they are.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let test = std::env::current_exe().expect("a test knows its own path");
        let profile = test
            .parent()
            .and_then(Path::parent)
            .expect("tests lie in target/<profile>/deps");
        let target = profile.parent().expect("profiles lie in target");
        let release = profile.ends_with("release");
        // What cargo says now, not where this test was compiled: a target directory may have been copied with
        // a checkout, and the binary of the other one would be tested.
        let sources = std::env::var_os("CARGO_MANIFEST_DIR")
            .unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let mut cargo = std::process::Command::new(env!("CARGO"));
        cargo
            .args(["build", "--quiet", "--workspace", "--bin", "pontoon"])
            .args(release.then_some("--release"))
            .arg("--target-dir")
            .arg(target)
            .current_dir(sources);
        let status = cargo.status().expect("cargo can be started");
        assert!(status.success(), "the binary cannot be built");
        profile.join("pontoon")
    })
}
