//! The examples and the playground: parsed, and run without containers as far as that goes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use pontoon_sandbox::dump::{CatalogDump, DumpOptions};
use pontoon_sandbox::{Server, ServerSpec, TestDatabase};
use serde_json::Value;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Compose writes `$$` where the shell shall see `$`.
fn shell(text: &Value) -> String {
    text.as_str().expect("is text").replace("$$", "$")
}

fn assert_is_bash(name: &str, script: &str) {
    let output = Command::new("bash")
        .args(["-n", "-c", script])
        .output()
        .expect("bash runs");
    assert!(
        output.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn told(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn the_playground_has_a_primary_a_standby_and_pontoon() {
    let compose = yaml("docker-compose.yml");
    let services = compose["services"].as_object().expect("is a mapping");
    let names: Vec<&str> = services.keys().map(String::as_str).collect();
    assert_eq!(names, ["primary", "standby", "pontoon"]);
    let image = &services["primary"]["image"];
    assert_eq!(&services["standby"]["image"], image);
    for service in ["standby", "pontoon"] {
        assert_eq!(
            services[service]["depends_on"]["primary"]["condition"], "service_healthy",
            "{service}"
        );
    }
    for (name, service) in services {
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let source = volume.as_str().expect("is text").split(':').next();
            let source = source.expect("has a source");
            let known = compose["volumes"].get(source).is_some()
                || (source.starts_with("./") && top().join(source).is_dir());
            assert!(known, "{name}: {source}");
        }
        for config in service["configs"].as_array().into_iter().flatten() {
            let source = config["source"].as_str().expect("is text");
            assert!(compose["configs"].get(source).is_some(), "{name}: {source}");
        }
        for port in service["ports"].as_array().into_iter().flatten() {
            let port = port.as_str().expect("is text");
            assert!(
                port.starts_with("127.0.0.1:"),
                "{name} is open to the world: {port}"
            );
        }
    }
    assert_is_bash(
        "replication",
        &shell(&compose["configs"]["replication"]["content"]),
    );
    assert_is_bash("standby", &shell(&services["standby"]["command"][2]));
    assert_is_bash("examples/compose/run.sh", &read("examples/compose/run.sh"));
}

/// What `examples/compose/run.sh` does, on servers of our own.
#[tokio::test(flavor = "multi_thread")]
async fn the_playgrounds_plan_runs_from_preview_to_contract() {
    let compose = yaml("docker-compose.yml");
    let server = Server::start(ServerSpec::default())
        .await
        .expect("a server");
    let url = server.create_database("shop").await.expect("a database");
    let client = server.client("shop").await.expect("a client");
    let seed = shell(&compose["configs"]["shop"]["content"]);
    client.batch_execute(&seed).await.expect("the seed is SQL");
    let standby = server.standby("standby").await.expect("a standby");
    let environment = compose["services"]["pontoon"]["environment"].as_object();
    let environment: Vec<(&str, String)> = environment
        .expect("is a mapping")
        .iter()
        .map(|(name, value)| match name.as_str() {
            "DATABASE_URL" => ("DATABASE_URL", url.clone()),
            "REPLICA_URLS" => ("REPLICA_URLS", standby.url("shop")),
            name => (name, shell(value)),
        })
        .collect();

    let script = read("examples/compose/run.sh");
    let commands: Vec<Vec<&str>> = script
        .lines()
        .filter_map(|line| line.trim().strip_prefix("docker compose run --rm pontoon "))
        .map(|line| {
            let line = line.split(" ||").next().unwrap_or(line);
            line.split_whitespace().collect()
        })
        .collect();
    assert_eq!(commands.len(), 5, "{commands:?}");
    let mut codes = Vec::new();
    for command in &commands {
        // The container has the folder at its root.
        let arguments: Vec<String> = command
            .iter()
            .map(|word| word.replace("/plans/", "examples/compose/plans/"))
            .collect();
        let output = Command::new(env!("CARGO_BIN_EXE_pontoon"))
            .args(&arguments)
            .envs(environment.clone())
            .current_dir(top())
            .output()
            .expect("pontoon runs");
        codes.push(output.status.code());
        let code = output.status.code().expect("it was not killed");
        assert!(code == 0 || code == 5, "{arguments:?}: {}", told(&output));
    }
    assert_eq!(codes, [Some(0), Some(5), Some(0), Some(0), Some(0)]);
    let row = client
        .query_one(
            "SELECT count(*) FROM orders WHERE amount_exact IS NOT NULL AND customer_normalized = lower(customer)",
            &[],
        )
        .await
        .expect("the new shape is there");
    assert_eq!(row.get::<_, i64>(0), 100_000);
}

/// Programs that a container has; the fetched servers of tests do not bring them.
fn complete_installation() -> Option<(u32, PathBuf)> {
    (14..=18).rev().find_map(|major| {
        let bin = PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"));
        (bin.join("pg_basebackup").is_file() && bin.join("psql").is_file()).then_some((major, bin))
    })
}

/// A shell as the account that the server runs as.
fn shell_as_server(bin: &Path) -> Command {
    let mut command = if nix::unistd::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            "bash",
        ]);
        command
    } else {
        Command::new("bash")
    };
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .env("PATH", format!("{}:{path}", bin.display()))
        .current_dir("/")
        .stdin(Stdio::null());
    command
}

/// The replication script and the standby's command, as they stand in the file but for host and port.
#[tokio::test(flavor = "multi_thread")]
async fn the_playgrounds_standby_streams() {
    let Some((major, bin)) = complete_installation() else {
        return;
    };
    let compose = yaml("docker-compose.yml");
    let server = Server::start(ServerSpec::version(major))
        .await
        .expect("a server");
    server.create_database("shop").await.expect("a database");
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("standby");
    let primary_data = home.path().join("primary");
    std::fs::create_dir(&primary_data).expect("a directory");
    std::fs::write(primary_data.join("pg_hba.conf"), "").expect("a file");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    for directory in [home.path(), &primary_data] {
        std::fs::set_permissions(directory, std::fs::Permissions::clone(&open))
            .expect("permissions");
    }
    std::fs::set_permissions(
        primary_data.join("pg_hba.conf"),
        std::os::unix::fs::PermissionsExt::from_mode(0o666),
    )
    .expect("permissions");

    let script = shell(&compose["configs"]["replication"]["content"]);
    let output = shell_as_server(&bin)
        .args(["-c", &script])
        .env("PGHOST", server.socket_dir())
        .env("PGPORT", server.port().to_string())
        .env("PGDATA", &primary_data)
        .env("POSTGRES_USER", server.superuser())
        .env("POSTGRES_DB", "shop")
        .output()
        .expect("bash runs");
    assert!(output.status.success(), "{}", told(&output));
    let access = std::fs::read_to_string(primary_data.join("pg_hba.conf")).expect("a file");
    assert_eq!(access, "host replication replicator all scram-sha-256\n");

    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port();
    let command = &compose["services"]["standby"]["command"];
    let script = shell(&command[2])
        .replace(
            "host=primary",
            &format!("host=127.0.0.1 port={}", server.port()),
        )
        .replace("exec postgres", &format!("exec postgres -p {port}"));
    let mut standby = shell_as_server(&bin)
        .args([command[1].as_str().expect("is text"), &script])
        .env("PGDATA", &data)
        .env(
            "PGPASSWORD",
            compose["services"]["standby"]["environment"]["PGPASSWORD"]
                .as_str()
                .expect("is text"),
        )
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("bash runs");
    let client = server.client("shop").await.expect("a client");
    let begun = Instant::now();
    let mut state = String::new();
    while begun.elapsed() < Duration::from_secs(30) && state != "streaming" {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let rows = client
            .query(
                "SELECT state FROM pg_stat_replication WHERE application_name = 'standby'",
                &[],
            )
            .await
            .expect("the primary answers");
        state = rows.first().map(|row| row.get(0)).unwrap_or_default();
    }
    let signal = match state.as_str() {
        "streaming" => nix::sys::signal::Signal::SIGQUIT,
        // A shell that waits for its child would not end at anything less.
        _ => nix::sys::signal::Signal::SIGKILL,
    };
    let pid = nix::unistd::Pid::from_raw(i32::try_from(standby.id()).expect("a pid"));
    nix::sys::signal::kill(pid, signal).expect("it is ours and running");
    standby.wait().expect("it ends");
    if nix::unistd::geteuid().is_root() {
        // The server's account owns the copy; root may remove it in any case.
        std::fs::remove_dir_all(&data).expect("it can be removed");
    }
    assert_eq!(state, "streaming");
}

#[test]
fn the_workflows_are_workflows() {
    let workflows = ["workflow", "deploy"].map(|name| yaml(&format!("examples/ci/{name}.yaml")));
    let jobs = workflows
        .iter()
        .flat_map(|workflow| workflow["jobs"].as_object().expect("is a mapping"));
    for (name, job) in jobs {
        let steps = job["steps"].as_array().expect("is a list");
        for step in steps {
            if let Some(script) = step.get("run") {
                let script = script.as_str().expect("is text");
                assert!(
                    !script.contains("${{"),
                    "{name}: an expression in a script is an injection; use the environment"
                );
                assert_is_bash(name, script);
            }
        }
    }
}

/// The job of `examples/ci/deploy.yaml` on this machine: its scripts as they stand, in their order, under the conditions
/// that the file gives. Only what the file uses of the workflow language is known.
struct Deployment {
    job: Value,
    home: tempfile::TempDir,
    url: String,
    failed: bool,
    /// Outcomes of steps with an id.
    outcomes: BTreeMap<String, &'static str>,
    /// Names of steps that ran.
    ran: Vec<String>,
    /// What they said.
    log: String,
}

impl Deployment {
    /// `application` is the script that tests the application.
    fn new(url: String, application: &str) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let deployment = Self {
            job: yaml("examples/ci/deploy.yaml")["jobs"]["deploy"].clone(),
            home,
            url,
            failed: false,
            outcomes: BTreeMap::new(),
            ran: Vec::new(),
            log: String::new(),
        };
        deployment.file("ci/test-application", application);
        deployment.file(
            "plans/pontoon.yaml",
            "environments: {staging: {url_env: STAGING_DATABASE_URL}}\n",
        );
        deployment.file(
            "plans/1_amounts.yaml",
            "plan: amounts\nversion: 1\noperations:\n  - change_type: {table: items, column: amount, to: numeric, as: exact}\n",
        );
        deployment.file(
            "plans/2_slugs.yaml",
            "plan: slugs\nversion: 2\noperations:\n  - rename_column: {table: parts, from: name, to: title}\n",
        );
        // The first attempt to expand ends as if another process held the run.
        let pontoon = env!("CARGO_BIN_EXE_pontoon");
        deployment.file(
            "bin/pontoon",
            &format!(
                "#!/bin/sh\ncase \"$*\" in\n*--until*) [ -e held ] || {{ touch held; exit 9; }} ;;\nesac\nexec '{pontoon}' \"$@\"\n"
            ),
        );
        deployment
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.home.path().join(path);
        std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("a folder");
        std::fs::write(&path, text).expect("a file");
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, executable).expect("permissions");
    }

    fn holds(&self, condition: &str) -> bool {
        condition.split("&&").map(str::trim).all(|term| match term {
            "always()" => true,
            "failure()" => self.failed,
            "success()" => !self.failed,
            term => {
                let outcome = term
                    .strip_prefix("steps.")
                    .and_then(|term| term.split_once(".outcome == "));
                let (id, outcome) =
                    outcome.unwrap_or_else(|| panic!("an unknown condition: {term}"));
                self.outcomes.get(id) == Some(&outcome.trim_matches('\''))
            }
        })
    }

    /// Runs the steps up to the one with this id, and without it to the end.
    fn run(&mut self, stop: Option<&str>) {
        let steps = self.job["steps"].as_array().expect("is a list").clone();
        let begun = self.job["begun"].as_u64().unwrap_or(0);
        for (index, step) in (0..)
            .zip(&steps)
            .skip(usize::try_from(begun).expect("it fits"))
        {
            let id = step["id"].as_str();
            if stop.is_some() && id == stop {
                self.job["begun"] = Value::from(index);
                return;
            }
            let Some(script) = step["run"].as_str() else {
                continue;
            };
            let outcome = if self.holds(step["if"].as_str().unwrap_or("success()")) {
                self.ran
                    .push(step["name"].as_str().expect("a name").to_owned());
                match self.shell(script) {
                    true => "success",
                    false => "failure",
                }
            } else {
                "skipped"
            };
            self.failed |= outcome == "failure";
            if let Some(id) = id {
                self.outcomes.insert(id.to_owned(), outcome);
            }
        }
    }

    fn shell(&mut self, script: &str) -> bool {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("bash");
        command
            .args(["-e", "-c", script])
            .current_dir(self.home.path())
            .env(
                "PATH",
                format!("{}:{path}", self.home.path().join("bin").display()),
            )
            .env("RETRY_AFTER", "0");
        for (name, value) in self.job["env"].as_object().expect("is a mapping") {
            assert_eq!(
                value.as_str(),
                Some(format!("${{{{ secrets.{name} }}}}").as_str())
            );
            command.env(name, &self.url);
        }
        let output = command.output().expect("bash runs");
        self.log.push_str(&format!("$ {script}\n{}", told(&output)));
        output.status.success()
    }
}

const DEPLOYED: &str = "
    CREATE TABLE items (id integer PRIMARY KEY, amount integer NOT NULL);
    INSERT INTO items SELECT g, g FROM generate_series(1, 300) g;
    CREATE TABLE parts (id integer PRIMARY KEY, name text NOT NULL);
    INSERT INTO parts SELECT g, 'Part ' || g FROM generate_series(1, 300) g";

/// Both shapes are there while the application is tested, and only the new one afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn the_deployment_expands_tests_and_contracts() {
    let database = TestDatabase::create(None).await.expect("a database");
    let client = database.client().await.expect("a client");
    client.batch_execute(DEPLOYED).await.expect("tables");
    let mut deployment = Deployment::new(database.url(), "#!/bin/sh\nexit 0\n");
    deployment.run(Some("test"));
    assert!(
        deployment.home.path().join("held").exists(),
        "it tried again"
    );
    let both = "SELECT count(*) FROM items, parts
                WHERE items.id = parts.id AND items.exact = items.amount AND parts.title = parts.name";
    let row = client.query_one(both, &[]).await.expect("both shapes");
    assert_eq!(row.get::<_, i64>(0), 300);
    deployment.run(None);
    assert_eq!(
        deployment.outcomes,
        BTreeMap::from(["expand", "test", "contract"].map(|id| (id.to_owned(), "success"))),
        "{}",
        deployment.log
    );
    assert!(!deployment.failed && !deployment.ran.iter().any(|name| name.contains("back")));
    let row = client
        .query_one(
            "SELECT count(*) FROM pontoon.run WHERE state = 'completed'",
            &[],
        )
        .await
        .expect("runs");
    assert_eq!(row.get::<_, i64>(0), 2);
    client
        .batch_execute("SELECT exact FROM items; SELECT title FROM parts")
        .await
        .expect("the new shape");
    for old in ["SELECT amount FROM items", "SELECT name FROM parts"] {
        assert!(client.batch_execute(old).await.is_err(), "{old}");
    }
    drop(client);
    database.drop().await.expect("dropped");
}

/// When the application's tests fail, the old shape is back, with what was written meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn the_deployment_takes_everything_back_when_the_tests_fail() {
    let database = TestDatabase::create(None).await.expect("a database");
    let client = database.client().await.expect("a client");
    client.batch_execute(DEPLOYED).await.expect("tables");
    let options = DumpOptions::default();
    let before = CatalogDump::take(&client, &options).await.expect("a dump");
    let mut deployment = Deployment::new(database.url(), "#!/bin/sh\nexit 1\n");
    deployment.run(Some("test"));
    client
        .batch_execute("UPDATE items SET exact = 7000 WHERE id = 7; UPDATE parts SET title = 'New' WHERE id = 7")
        .await
        .expect("the new version writes");
    deployment.run(None);
    let outcome = |id: &str| deployment.outcomes[id];
    assert_eq!(
        (outcome("expand"), outcome("test"), outcome("contract")),
        ("success", "failure", "skipped"),
        "{}",
        deployment.log
    );
    assert_eq!(
        deployment.ran[4..],
        ["Take everything back", "Say how the database stands"]
    );
    let after = CatalogDump::take(&client, &options).await.expect("a dump");
    let differences = before.differences(&after);
    assert!(differences.is_empty(), "{differences:#?}");
    let row = client
        .query_one(
            "SELECT (SELECT amount FROM items WHERE id = 7) || (SELECT name FROM parts WHERE id = 7),
                    (SELECT count(*) FROM pontoon.run WHERE state = 'rolled_back')",
            &[],
        )
        .await
        .expect("a row");
    assert_eq!(
        (row.get::<_, &str>(0), row.get::<_, i64>(1)),
        ("7000New", 2)
    );
    drop(client);
    database.drop().await.expect("dropped");
}

#[test]
fn the_jobs_plan_is_valid_and_its_codes_are_all() {
    let text = read("examples/kubernetes/job.yaml");
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).expect("is YAML");
    let [config, job] = documents.as_slice() else {
        panic!("a ConfigMap and a Job are expected");
    };
    let plan = config["data"]["orders_amount.yaml"]
        .as_str()
        .expect("is text");
    pontoon_core::plan::load("orders_amount.yaml", plan).expect("the plan is valid");

    let rules = job["spec"]["podFailurePolicy"]["rules"]
        .as_array()
        .expect("is a list");
    let mut codes: Vec<u64> = rules
        .iter()
        .filter_map(|rule| rule["onExitCodes"]["values"].as_array())
        .flatten()
        .filter_map(Value::as_u64)
        .collect();
    codes.sort_unstable();
    assert_eq!(codes, (1..=11).collect::<Vec<u64>>());
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["name"], "pontoon");
    assert_eq!(job["spec"]["template"]["spec"]["restartPolicy"], "Never");
}

#[test]
fn the_ci_script_is_bash() {
    assert_is_bash(".ci/run", &read(".ci/run"));
}
