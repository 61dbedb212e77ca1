//! Connections as real fleets have them, through the binary: TLS that checks
//! the server and shows who we are, passwords from every source with every
//! character, sockets, IPv6, several hosts, options. What each parameter means
//! in detail is tried in `crates/engine/tests/connect`.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pontoon_sandbox::{Server, ServerSpec, StopMode};
use pontoon_tests::{Finished, Pontoon};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::scene::{plan, run, text};

/// Every character that means something in a URL, a key=value string, a
/// passfile or a shell.
const PASSWORD: &str = "p@s:s/w?o#r&d=% +'\"\\ é";

/// A server with TLS, a role with an odd password and one with a certificate.
struct Fortress {
    server: Server,
    files: tempfile::TempDir,
    authority: PathBuf,
    stranger: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

fn authority(directory: &Path, name: &str) -> (PathBuf, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = params.self_signed(&key).expect("self-signed");
    let path = directory.join(format!("{name}.crt"));
    std::fs::write(&path, certificate.pem()).expect("written");
    (path, Issuer::new(params, key))
}

fn signed(
    by: &Issuer<'static, KeyPair>,
    directory: &Path,
    common: &str,
    names: &[&str],
) -> (PathBuf, PathBuf) {
    let key = KeyPair::generate().expect("a key");
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("parameters");
    params.distinguished_name.push(DnType::CommonName, common);
    let certificate = params.signed_by(&key, by).expect("signed");
    let (public, private) = (
        directory.join(format!("{common}.crt")),
        directory.join(format!("{common}.key")),
    );
    std::fs::write(&public, certificate.pem()).expect("written");
    std::fs::write(&private, key.serialize_pem()).expect("written");
    chmod(&private, 0o600);
    (public, private)
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
}

impl Fortress {
    async fn build(version: u32) -> Self {
        let spec = ServerSpec::version(version).setting("listen_addresses", "'127.0.0.1,::1'");
        let server = Server::start(spec).await.expect("a server");
        let files = tempfile::tempdir().expect("a directory");
        let (authority_file, issuer) = authority(files.path(), "authority");
        let (stranger, _) = authority(files.path(), "stranger");
        let names = ["db.example", "localhost", "127.0.0.1", "::1"];
        let of_server = signed(&issuer, files.path(), "server", &names);
        let (certificate, key) = signed(&issuer, files.path(), "keeper", &[]);
        let data = server.data_dir();
        for (from, name) in [
            (&of_server.0, "server.crt"),
            (&of_server.1, "server.key"),
            (&authority_file, "clients.crt"),
        ] {
            let to = data.join(name);
            std::fs::copy(from, &to).expect("copied");
            chmod(&to, 0o600);
            let owner = std::fs::metadata(&data).expect("the data directory");
            chown(&to, Some(owner.uid()), Some(owner.gid())).expect("chown");
        }
        let client = server.client("postgres").await.expect("a connection");
        let password = PASSWORD.replace('\'', "''");
        run(
            &client,
            &format!(
                "CREATE ROLE odd LOGIN SUPERUSER PASSWORD '{password}'; CREATE ROLE keeper LOGIN SUPERUSER"
            ),
        )
        .await;
        for setting in ["ssl = on", "ssl_ca_file = 'clients.crt'"] {
            run(&client, &format!("ALTER SYSTEM SET {setting}")).await;
        }
        let rules = "local all all trust\nlocal replication all trust\n\
                     hostssl all keeper all cert\n\
                     hostssl all odd all scram-sha-256\n\
                     hostnossl all all all reject\n";
        std::fs::write(data.join("pg_hba.conf"), rules).expect("written");
        server.stop(StopMode::Fast).await.expect("stopped");
        server.start_again().await.expect("started");
        Self {
            server,
            files,
            authority: authority_file,
            stranger,
            certificate,
            key,
        }
    }

    /// A key=value string with the odd password.
    fn pairs(&self, more: &str) -> String {
        let password = PASSWORD.replace('\\', "\\\\").replace('\'', "\\'");
        format!(
            "port={} user=odd password='{password}' dbname=postgres {more}",
            self.server.port()
        )
    }

    fn pontoon(&self) -> Pontoon {
        Pontoon::new("")
    }
}

/// No secret is told, however it ends.
fn discreet(ended: Finished, code: i32) -> Finished {
    let ended = ended.expect(code);
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(!said.contains("p@s:s") && !said.contains("p%40s"), "{said}");
    ended
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_passwords() {
    for version in crate::versions() {
        let fortress = Fortress::build(version).await;
        let pontoon = fortress.pontoon();
        let (right, wrong) = (
            format!("sslrootcert={}", fortress.authority.display()),
            format!("sslrootcert={}", fortress.stranger.display()),
        );
        let named = "host=db.example hostaddr=127.0.0.1";
        let misnamed = "host=wrong.example hostaddr=127.0.0.1";
        for (case, code, says) in [
            (format!("{named} sslmode=verify-full {right}"), 0, ""),
            (
                format!("{misnamed} sslmode=verify-full {right}"),
                10,
                "another host name",
            ),
            (format!("{misnamed} sslmode=verify-ca {right}"), 0, ""),
            (
                format!("{named} sslmode=verify-full {wrong}"),
                10,
                "not signed by a trusted",
            ),
            (
                format!("{named} sslrootcert=system"),
                10,
                "not signed by a trusted",
            ),
            (format!("{named} sslmode=require"), 0, ""),
            (format!("{named} sslmode=prefer"), 0, ""),
            (format!("{named} sslmode=allow"), 0, ""),
            (format!("{named} sslmode=disable"), 10, "pg_hba.conf"),
            (
                format!("{named} sslmode=verify"),
                2,
                "verify-ca, verify-full",
            ),
        ] {
            let url = fortress.pairs(&case);
            let ended = discreet(pontoon.call(&["history", "--url", &url]).await, code);
            assert!(ended.stderr.contains(says), "{case}: {}", ended.stderr);
        }

        // The password in a URL, in the environment, and in the passfile.
        let port = fortress.server.port();
        let url = format!(
            "postgresql://odd:{}@127.0.0.1:{port}/postgres?sslmode=require",
            encoded(PASSWORD)
        );
        discreet(pontoon.call(&["history", "--url", &url]).await, 0);
        let bare = format!("postgresql://odd@127.0.0.1:{port}/postgres?sslmode=require");
        let with = [("PGPASSWORD", PASSWORD)];
        discreet(
            pontoon.call_with(&["history", "--url", &bare], &with).await,
            0,
        );
        let line = PASSWORD.replace('\\', "\\\\").replace(':', "\\:");
        let passfile = pontoon.file(".pgpass", &format!("127.0.0.1:{port}:*:odd:{line}\n"));
        chmod(&passfile, 0o644);
        let ended = discreet(pontoon.call(&["history", "--url", &bare]).await, 10);
        assert!(ended.stderr.contains("chmod 0600"), "{}", ended.stderr);
        chmod(&passfile, 0o600);
        discreet(pontoon.call(&["history", "--url", &bare]).await, 0);
        // Not encoded: an error that repeats nothing of it.
        let raw = format!("postgresql://odd:{PASSWORD}@127.0.0.1:{port}/postgres");
        let ended = discreet(pontoon.call(&["history", "--url", &raw]).await, 2);
        assert!(ended.stderr.contains("%40"), "{}", ended.stderr);

        // Our own certificate, through the environment, from start to end.
        let client = fortress.server.client("postgres").await.expect("a client");
        run(
            &client,
            "CREATE TABLE items (id integer PRIMARY KEY, amount integer);
             INSERT INTO items SELECT g, g FROM generate_series(1, 500) g",
        )
        .await;
        let path = pontoon.plan(&plan(
            "encrypted",
            "gates: []",
            "- change_type: {table: items, column: amount, to: numeric, as: exact}",
        ));
        let (host, port) = ("db.example", port.to_string());
        let variables = |key: &Path| {
            [
                ("DATABASE_URL", String::new()),
                ("PGHOST", host.to_owned()),
                ("PGHOSTADDR", "127.0.0.1".to_owned()),
                ("PGPORT", port.clone()),
                ("PGUSER", "keeper".to_owned()),
                ("PGDATABASE", "postgres".to_owned()),
                ("PGSSLMODE", "verify-full".to_owned()),
                ("PGSSLROOTCERT", fortress.authority.display().to_string()),
                ("PGSSLCERT", fortress.certificate.display().to_string()),
                ("PGSSLKEY", key.display().to_string()),
            ]
        };
        let open_key = fortress.files.path().join("open.key");
        std::fs::copy(&fortress.key, &open_key).expect("copied");
        chmod(&open_key, 0o644);
        let call = async |key: &Path| {
            let variables = variables(key);
            let variables: Vec<(&str, &str)> = variables
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            pontoon.call_with(&["run", &path], &variables).await
        };
        let ended = call(&open_key).await.expect(3);
        assert!(ended.stderr.contains("0644"), "{}", ended.stderr);
        call(&fortress.key).await.expect(0);
        assert_eq!(text(&client, "SELECT count(exact) FROM items").await, "500");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_sockets_services_and_options() {
    for version in crate::versions() {
        let fortress = Fortress::build(version).await;
        let (server, pontoon) = (&fortress.server, fortress.pontoon());
        let (port, socket) = (server.port(), server.socket_dir().display());
        let history = async |url: &str| pontoon.call(&["history", "--url", url]).await;

        // Sockets, in both forms; TLS has nothing to do there.
        for url in [
            format!("host={socket} port={port} user=odd dbname=postgres sslmode=verify-full"),
            format!(
                "postgresql://odd@{}:{port}/postgres",
                encoded(&socket.to_string())
            ),
        ] {
            discreet(history(&url).await, 0);
        }

        // IPv6, by address and by name.
        if std::net::TcpListener::bind("[::1]:0").is_ok() {
            let url = format!(
                "postgresql://odd:{}@[::1]:{port}/postgres?sslmode=verify-full&sslrootcert={}",
                encoded(PASSWORD),
                encoded(&fortress.authority.display().to_string())
            );
            discreet(history(&url).await, 0);
        } else {
            eprintln!("LEFT OUT: this machine has no IPv6");
        }
        discreet(
            history(&fortress.pairs("host=localhost sslmode=require")).await,
            0,
        );

        // Of several hosts, one is down, one is a standby.
        let standby = server.standby("second").await.expect("a standby");
        let closed = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port();
        let hosts = format!(
            "host={socket},127.0.0.1,{} port={port},{closed},{}",
            standby.socket_dir().display(),
            standby.port()
        );
        let of = |attributes: &str| {
            format!("{hosts} user=odd dbname=postgres target_session_attrs={attributes}")
        };
        discreet(history(&of("read-write")).await, 0);
        discreet(history(&of("primary")).await, 0);
        let only = format!(
            "host={} port={} user=odd dbname=postgres",
            standby.socket_dir().display(),
            standby.port()
        );
        let ended = discreet(
            history(&format!("{only} target_session_attrs=read-write")).await,
            10,
        );
        assert!(ended.stderr.contains("read-only"), "{}", ended.stderr);
        // Whoever insists on the standby is told so before anything begins.
        let path = pontoon.plan(&plan(
            "on_a_standby",
            "",
            "- create_table: {table: t, columns: [{name: id, type: integer}], primary_key: [id]}",
        ));
        let ended = pontoon
            .call(&["run", &path, "--url", &only])
            .await
            .expect(10);
        assert!(
            ended.stderr.contains("standby") || ended.stderr.contains("read-only"),
            "{}",
            ended.stderr
        );

        // A service file, options and an application name.
        let services = pontoon.file(
            "services",
            &format!("[shop]\nhost={socket}\nport={port}\nuser=odd\ndbname=postgres\napplication_name=deploy\noptions=-c work_mem=7MB\n"),
        );
        let services = services.display().to_string();
        let variables = [("PGSERVICEFILE", services.as_str())];
        let mut running = pontoon.spawn_with(&["run", &path, "--url", "service=shop"], &variables);
        running.event("lease_taken").await.expect("the run begins");
        let client = server.client("postgres").await.expect("a connection");
        let names =
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name LIKE 'deploy/%'";
        assert_eq!(text(&client, names).await, "t");
        running.wait().await.0.expect(0);
        let variables = [("PGSERVICEFILE", "/nonexistent")];
        let ended = pontoon
            .call_with(&["history", "--url", "service=shop"], &variables)
            .await;
        let ended = discreet(ended, 2);
        assert!(ended.stderr.contains("PGSERVICEFILE"), "{}", ended.stderr);

        // A host that never answers.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let silent_port = silent.local_addr().expect("its address").port();
        let begun = Instant::now();
        let url = format!("host=127.0.0.1 port={silent_port} user=odd connect_timeout=1");
        let ended = discreet(history(&url).await, 10);
        assert!(ended.stderr.contains("within 1s"), "{}", ended.stderr);
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}
