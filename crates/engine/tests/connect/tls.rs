//! TLS in every `sslmode`, with an authority made on the spot.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use pontoon_engine::db::postgres::connect::{ConnectErrorKind, Connection, is_pooler};
use pontoon_sandbox::{Server, ServerSpec, StopMode};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rstest::rstest;

use super::{open, refused, resolve_with};

async fn over_tls(connection: &Connection) -> bool {
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    connection.query_one(sql, &[]).await.expect(sql).get(0)
}

/// An authority and what it signs, as PEM files.
struct Authority {
    certificate: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(directory: &Path, name: &str) -> Self {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("params");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).expect("self-signed");
        let path = directory.join(format!("{name}.crt"));
        std::fs::write(&path, certificate.pem()).expect("write");
        Authority {
            certificate: path,
            issuer: Issuer::new(params, key),
        }
    }

    fn sign(&self, directory: &Path, file: &str, names: &[&str], common: &str) -> Pair {
        let key = KeyPair::generate().expect("key");
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("params");
        params.distinguished_name.push(DnType::CommonName, common);
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        Pair::write(directory, file, &certificate.pem(), &key)
    }
}

/// A certificate and its key.
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
}

impl Pair {
    fn write(directory: &Path, file: &str, certificate: &str, key: &KeyPair) -> Self {
        let pair = Pair {
            certificate: directory.join(format!("{file}.crt")),
            key: directory.join(format!("{file}.key")),
        };
        std::fs::write(&pair.certificate, certificate).expect("write");
        std::fs::write(&pair.key, key.serialize_pem()).expect("write");
        chmod(&pair.key, 0o600);
        pair
    }
}

fn chmod(file: &Path, mode: u32) {
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).expect("chmod");
}

struct TlsServer {
    server: Server,
    files: tempfile::TempDir,
    authority: Authority,
    other: Authority,
}

impl TlsServer {
    async fn start(rules: &str) -> Self {
        let server = Server::start(ServerSpec::default()).await.expect("server");
        let files = tempfile::tempdir().expect("temporary directory");
        let authority = Authority::new(files.path(), "authority");
        let other = Authority::new(files.path(), "other");
        let names = ["db.example", "127.0.0.1"];
        let pair = authority.sign(files.path(), "server", &names, "server");
        let tls = TlsServer {
            server,
            files,
            authority,
            other,
        };
        tls.serve(&pair, rules).await;
        tls
    }

    /// Gives the server a certificate and rules. A restart leaves no doubt about what it uses.
    async fn serve(&self, pair: &Pair, rules: &str) {
        self.give(&pair.certificate, "server.crt");
        self.give(&pair.key, "server.key");
        self.give(&self.authority.certificate, "clients.crt");
        let rules = format!("local all all trust\n{rules}\n");
        std::fs::write(self.server.data_dir().join("pg_hba.conf"), rules).expect("write");
        let client = self.server.client("postgres").await.expect("superuser");
        for setting in ["ssl = on", "ssl_ca_file = 'clients.crt'"] {
            let sql = format!("ALTER SYSTEM SET {setting}");
            client.batch_execute(&sql).await.expect("setting");
        }
        self.server.stop(StopMode::Fast).await.expect("stops");
        self.server.start_again().await.expect("starts");
    }

    /// Puts a file where the server, and nobody else, can read it.
    fn give(&self, from: &Path, name: &str) {
        let owner = std::fs::metadata(self.server.data_dir()).expect("data directory");
        let to = self.server.data_dir().join(name);
        std::fs::copy(from, &to).expect("copy");
        chmod(&to, 0o600);
        chown(&to, Some(owner.uid()), Some(owner.gid())).expect("chown");
    }

    fn url(&self, host: &str, parameters: &str) -> String {
        format!(
            "host={host} hostaddr=127.0.0.1 port={} user=postgres password={} dbname=postgres {parameters}",
            self.server.port(),
            self.server.password()
        )
    }
}

#[tokio::test]
async fn sslmode_verifies_as_much_as_it_says() {
    const UNSIGNED: &str = "not signed by a trusted authority";
    const MISNAMED: &str = "for another host name";
    let tls = TlsServer::start("host all all 127.0.0.1/32 scram-sha-256").await;
    let right = format!("sslrootcert={}", tls.authority.certificate.display());
    let wrong = format!("sslrootcert={}", tls.other.certificate.display());
    let cases = [
        ("db.example", "sslmode=prefer", "", None),
        ("db.example", "sslmode=allow", "", None),
        ("db.example", "sslmode=require", "", None),
        ("wrong.example", "sslmode=require", "", None),
        ("no-name-", "sslmode=require", "", None),
        ("db.example", "sslmode=require", &right, None),
        ("wrong.example", "sslmode=require", &right, None),
        ("db.example", "sslmode=require", &wrong, Some(UNSIGNED)),
        ("db.example", "sslmode=verify-ca", &right, None),
        ("wrong.example", "sslmode=verify-ca", &right, None),
        ("db.example", "sslmode=verify-ca", &wrong, Some(UNSIGNED)),
        ("db.example", "sslmode=verify-full", &right, None),
        ("127.0.0.1", "sslmode=verify-full", &right, None),
        (
            "wrong.example",
            "sslmode=verify-full",
            &right,
            Some(MISNAMED),
        ),
        ("127.0.0.2", "sslmode=verify-full", &right, Some(MISNAMED)),
        ("db.example", "sslmode=verify-full", &wrong, Some(UNSIGNED)),
        ("db.example", "sslmode=verify-full", "", Some(UNSIGNED)),
        ("db.example", "sslrootcert=system", "", Some(UNSIGNED)),
        (
            "db.example",
            "sslmode=verify-full channel_binding=require",
            &right,
            None,
        ),
        (
            "db.example",
            "sslmode=require ssl_max_protocol_version=TLSv1.2",
            "",
            None,
        ),
        (
            "db.example",
            "sslmode=require ssl_min_protocol_version=TLSv1.3 sslsni=0",
            "",
            None,
        ),
    ];
    for (host, mode, roots, problem) in cases {
        let case = format!("{host} {mode} {roots}");
        let result = open(&tls.url(host, &format!("{mode} {roots}"))).await;
        match (result, problem) {
            (Ok(connection), None) => {
                assert!(over_tls(&connection).await, "{case}: not encrypted");
                let pooler = is_pooler(&connection).await;
                assert!(!pooler.unwrap_or_else(|e| panic!("{case}: {e}")), "{case}");
                // A cancel request goes the same way. It comes last: it may hit any later statement.
                let cancelled = connection.canceller().cancel().await;
                cancelled.unwrap_or_else(|e| panic!("{case}: {e}"));
            }
            (Err(error), Some(problem)) => {
                assert_eq!(error.kind(), ConnectErrorKind::Tls, "{case}: {error}");
                assert!(error.to_string().contains(problem), "{case}: {error}");
                assert!(!format!("{error:?}").contains(tls.server.password()));
            }
            (Ok(_), Some(_)) => panic!("{case}: was let through"),
            (Err(error), None) => panic!("{case}: {error}"),
        }
    }
    let plain = open(&tls.url("db.example", "sslmode=disable")).await;
    assert!(!over_tls(&plain.expect("connects")).await);
    let url = tls.url("db.example", "sslmode=disable channel_binding=require");
    let error = refused(&url).await;
    assert_eq!(error.kind(), ConnectErrorKind::Authentication, "{error}");
}

#[tokio::test]
async fn direct_negotiation_from_17_on() {
    let tls = TlsServer::start("hostssl all all 127.0.0.1/32 trust").await;
    let url = tls.url("db.example", "sslmode=require sslnegotiation=direct");
    let result = open(&url).await;
    if tls.server.version() >= 17 {
        assert!(over_tls(&result.expect("connects")).await);
    } else {
        let error = result.expect_err("an older server takes it for garbage");
        assert_eq!(error.kind(), ConnectErrorKind::Unreachable, "{error}");
    }
}

#[tokio::test]
async fn a_self_signed_certificate_among_the_roots_is_trusted() {
    let rules = "host all all 127.0.0.1/32 trust";
    let tls = TlsServer::start(rules).await;
    let key = KeyPair::generate().expect("key");
    let mut params = CertificateParams::new(vec!["db.example".to_owned()]).expect("params");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).expect("self-signed");
    let pair = Pair::write(tls.files.path(), "own", &certificate.pem(), &key);
    tls.serve(&pair, rules).await;
    let root = format!("sslrootcert={}", pair.certificate.display());
    for mode in ["verify-ca", "verify-full"] {
        let url = tls.url("db.example", &format!("sslmode={mode} {root}"));
        open(&url).await.unwrap_or_else(|e| panic!("{mode}: {e}"));
    }
    let url = tls.url("wrong.example", &format!("sslmode=verify-full {root}"));
    assert_eq!(refused(&url).await.kind(), ConnectErrorKind::Tls);
}

#[tokio::test]
async fn rules_decide_between_tls_and_plain_text() {
    let tls = TlsServer::start("hostnossl all all 127.0.0.1/32 trust").await;
    let connection = open(&tls.url("db.example", "sslmode=prefer")).await;
    assert!(!over_tls(&connection.expect("falls back to plain text")).await);
    let error = refused(&tls.url("db.example", "sslmode=require")).await;
    assert_eq!(error.kind(), ConnectErrorKind::Authentication, "{error}");
    assert!(error.hint().contains("pg_hba.conf"), "{}", error.hint());

    let files = tls.files.path();
    let own = tls.authority.sign(files, "postgres", &[], "postgres");
    let pair = tls
        .authority
        .sign(files, "again", &["db.example"], "server");
    tls.serve(&pair, "hostssl all all 127.0.0.1/32 cert").await;
    let error = refused(&tls.url("db.example", "sslmode=require")).await;
    assert_eq!(error.kind(), ConnectErrorKind::Authentication, "{error}");
    let url = tls.url(
        "db.example",
        &format!(
            "sslmode=require sslcert={} sslkey={}",
            own.certificate.display(),
            own.key.display()
        ),
    );
    open(&url).await.expect("our certificate opens the door");
    chmod(&own.key, 0o644);
    let error = resolve_with(Some(&url), &[]).expect_err("an open key");
    assert_eq!(error.kind(), ConnectErrorKind::InvalidOptions);
    assert!(error.to_string().contains("0644"), "{error}");
}

#[rstest]
#[case("require")]
#[case("verify-full")]
#[tokio::test]
async fn a_server_without_tls(#[case] mode: &str) {
    let server = Server::shared(None).await.expect("server");
    let url = server.url("postgres");
    let error = refused(&format!("{url}?sslmode={mode}")).await;
    assert_eq!(error.kind(), ConnectErrorKind::Tls);
    assert!(error.to_string().contains("does not offer TLS"), "{error}");
    let connection = open(&format!("{url}?sslmode=prefer")).await;
    assert!(!over_tls(&connection.expect("plain text will do")).await);
}
