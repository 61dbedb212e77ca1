//! A lane of the matrix: a server of its own, so that whatever is done to it
//! disturbs no other case; and the database of one case.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use pontoon_sandbox::app::App;
use pontoon_sandbox::tcp_proxy::TcpProxy;
use pontoon_sandbox::{Server, ServerSpec, StopMode};
use pontoon_tests::Pontoon;
use tokio::sync::Mutex;
use tokio_postgres::Client;

use super::scenario::{ROWS, Scenario};

/// What a lane knows of its server.
pub(crate) struct Lane {
    pub(crate) server: Server,
    pub(crate) proxy: TcpProxy,
    /// Where flags are put up for the server, and where it counts hits.
    pub(crate) shim: PathBuf,
    templates: Mutex<Vec<&'static str>>,
    counter: AtomicU64,
    // Keeps the directory.
    _directory: tempfile::TempDir,
}

/// The database of one case, and Pontoon before it, through the proxy.
pub(crate) struct Stage<'a> {
    pub(crate) lane: &'a Lane,
    pub(crate) name: String,
    pub(crate) pontoon: Pontoon,
    pub(crate) path: String,
}

impl Lane {
    pub(crate) async fn start(version: u32) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        open(directory.path());
        let library = compile("full_disk.c", directory.path());
        compile("clock.c", directory.path());
        let server = Server::start(
            ServerSpec::version(version)
                .env("LD_PRELOAD", &library.display().to_string())
                .env("PONTOON_SHIM", &directory.path().display().to_string())
                // A new segment of the log is a new file, so that a full disk
                // is felt at the next switch.
                .setting("wal_recycle", "off")
                .setting("autovacuum_naptime", "5s"),
        )
        .await
        .expect("a server");
        let proxy = TcpProxy::start(&server).await.expect("a proxy");
        Self {
            server,
            proxy,
            shim: directory.path().to_owned(),
            templates: Mutex::default(),
            counter: AtomicU64::new(1),
            _directory: directory,
        }
    }

    /// A database of this scenario, in which nothing has happened yet.
    pub(crate) async fn stage(&self, scenario: &Scenario) -> Stage<'_> {
        let template = format!("template_{}", scenario.name);
        {
            let mut templates = self.templates.lock().await;
            if !templates.contains(&scenario.name) {
                self.server
                    .create_database(&template)
                    .await
                    .expect("a database");
                let client = self.client(&template).await;
                App::install(&scenario.model, &client, ROWS)
                    .await
                    .expect("the model");
                run(&client, &scenario.setup()).await;
                templates.push(scenario.name);
            }
        }
        let name = format!("case_{}", self.counter.fetch_add(1, Ordering::Relaxed));
        // It waits some seconds for the template's last session to leave.
        let url = (self.server.copy_database(&template, &name).await).expect("a database");
        let pontoon = Pontoon::new(self.proxy.url(&url));
        let path = pontoon.plan(&scenario.plan());
        Stage {
            lane: self,
            name,
            pontoon,
            path,
        }
    }

    /// A superuser's session past the proxy.
    pub(crate) async fn client(&self, database: &str) -> Client {
        self.server.client(database).await.expect("a connection")
    }

    /// Stops the server as a crash does, and starts it again after a pause.
    pub(crate) async fn restart(&self, pause: std::time::Duration) {
        self.server
            .stop(StopMode::Immediate)
            .await
            .expect("stopped");
        tokio::time::sleep(pause).await;
        self.server.start_again().await.expect("started");
    }

    /// How often the server was refused room so far.
    pub(crate) fn refused(&self) -> u64 {
        std::fs::metadata(self.shim.join("hits")).map_or(0, |file| file.len())
    }

    /// Undoes what a case that failed may have left.
    pub(crate) async fn tidy(&self) {
        for flag in ["full-data", "full-wal"] {
            remove(&self.shim.join(flag));
        }
        self.proxy.cut();
        if self.server.client("postgres").await.is_err() {
            self.restart(std::time::Duration::ZERO).await;
        }
    }
}

impl Stage<'_> {
    pub(crate) async fn client(&self) -> Client {
        self.lane.client(&self.name).await
    }

    /// Removes the database.
    pub(crate) async fn end(self) {
        self.lane
            .server
            .drop_database(&self.name)
            .await
            .expect("the database goes");
    }
}

/// Runs statements.
pub(crate) async fn run(client: &Client, sql: &str) {
    client
        .batch_execute(sql)
        .await
        .unwrap_or_else(|error| panic!("{error:?}\n{sql}"));
}

/// Removes a file that may be there.
pub(crate) fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
    }
}

/// Compiles one of the shims with the C compiler that Rust links with.
pub(crate) fn compile(source: &str, into: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/faults/shim")
        .join(source);
    let library = into.join(source.with_extension("so").file_name().expect("a name"));
    let output = std::process::Command::new("cc")
        .args(["-O2", "-Wall", "-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl")
        .output()
        .expect("the C compiler `cc` can be started");
    assert!(
        output.status.success(),
        "{}: {}",
        source.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    open(&library);
    library
}

/// Lets the server's account read and write it.
fn open(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777))
        .expect("the permissions can be set");
}
