//! TLS as libpq's `sslmode` describes it, on rustls with the ring provider.
//!
//! | sslmode | encrypted | certificate |
//! |---|---|---|
//! | `disable` | never | – |
//! | `allow`, `prefer` | if the server can | not looked at; plain text when the handshake or the login fails |
//! | `require` | always | not looked at, unless there are roots (`sslrootcert`, `~/.postgresql/root.crt`): then as `verify-ca` |
//! | `verify-ca` | always | signed by a root; for any host |
//! | `verify-full` | always | signed by a root, for the host we connect to |
//!
//! `verify-full` without roots uses those of the operating system, as `sslrootcert=system` does; `verify-ca` never
//! does, because everybody can get a certificate from one of those. A certificate that is itself in the file of
//! roots is trusted by identity, whatever it says about being an authority: that is the self-signed certificate of
//! PostgreSQL's manual. Names are looked for in subjectAltName only, and certificates must be X.509 v3.
//! TLS does not apply to Unix sockets.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion,
};

use super::error::{ConnectError, ConnectErrorKind};
use super::params::{Settings, invalid};

/// How much encryption is insisted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SslMode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

const MODES: &[(&str, SslMode)] = &[
    ("disable", SslMode::Disable),
    ("allow", SslMode::Prefer),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

/// Whom to trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Roots {
    None,
    System,
    File(PathBuf),
}

/// Our own certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    certificate: PathBuf,
    key: PathBuf,
}

/// Everything about TLS that does not depend on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TlsSettings {
    pub(super) mode: SslMode,
    pub(super) direct: bool,
    roots: Roots,
    identity: Option<Identity>,
    sni: bool,
    versions: Versions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Versions {
    tls12: bool,
    tls13: bool,
}

impl Versions {
    fn list(self) -> Vec<&'static SupportedProtocolVersion> {
        let mut list = Vec::new();
        if self.tls12 {
            list.push(&rustls::version::TLS12);
        }
        if self.tls13 {
            list.push(&rustls::version::TLS13);
        }
        list
    }
}

fn wrong(message: String, hint: &str) -> ConnectError {
    ConnectError::new(ConnectErrorKind::InvalidOptions, message, hint)
}

/// Reads the `ssl…` parameters.
///
/// # Errors
/// A value is unknown, or two contradict each other.
pub(super) fn settings(
    settings: &Settings,
    variable: &dyn Fn(&str) -> Option<String>,
    home: Option<&Path>,
) -> Result<TlsSettings, ConnectError> {
    let of_home = |name: &str| {
        home.map(|home| home.join(".postgresql").join(name))
            .filter(|path| path.exists())
    };
    let given = settings.choice("sslmode", MODES)?;
    let system = settings.value("sslrootcert") == Some("system");
    let mode = match given {
        Some(mode) => mode,
        None if system => SslMode::VerifyFull,
        None if variable("PGREQUIRESSL").is_some_and(|v| v.starts_with('1')) => SslMode::Require,
        None => SslMode::Prefer,
    };
    if system && mode != SslMode::VerifyFull && mode != SslMode::Disable {
        return Err(wrong(
            "use sslrootcert=system with a weaker sslmode than verify-full".to_owned(),
            "say sslmode=verify-full, or name a file in sslrootcert",
        ));
    }
    let roots = match settings.value("sslrootcert") {
        Some("system") => Roots::System,
        Some(file) => Roots::File(PathBuf::from(file)),
        None => match (of_home("root.crt"), mode) {
            (Some(file), _) => Roots::File(file),
            (None, SslMode::VerifyFull) => Roots::System,
            (None, SslMode::VerifyCa) => {
                return Err(wrong(
                    "use sslmode=verify-ca without sslrootcert".to_owned(),
                    "name the authority's certificate in sslrootcert, or say sslmode=verify-full",
                ));
            }
            (None, _) => Roots::None,
        },
    };
    let direct = settings
        .choice("sslnegotiation", &[("postgres", false), ("direct", true)])?
        .unwrap_or(false);
    if direct && matches!(mode, SslMode::Disable | SslMode::Prefer) {
        return Err(wrong(
            "use sslnegotiation=direct with a weaker sslmode than require".to_owned(),
            "say sslmode=verify-full or require",
        ));
    }
    Ok(TlsSettings {
        mode,
        direct,
        roots,
        identity: identity(settings, &of_home)?,
        sni: settings
            .choice("sslsni", &[("0", false), ("1", true)])?
            .unwrap_or(true),
        versions: versions(settings)?,
    })
}

fn identity(
    settings: &Settings,
    of_home: &dyn Fn(&str) -> Option<PathBuf>,
) -> Result<Option<Identity>, ConnectError> {
    let modes = &[
        ("disable", Some(false)),
        ("allow", None),
        ("require", Some(true)),
    ];
    let mode = settings.choice("sslcertmode", modes)?.flatten();
    if mode == Some(false) {
        return Ok(None);
    }
    let path = |name, home_name| {
        settings
            .value(name)
            .map(PathBuf::from)
            .or_else(|| of_home(home_name))
    };
    match (
        path("sslcert", "postgresql.crt"),
        path("sslkey", "postgresql.key"),
    ) {
        (Some(certificate), Some(key)) => Ok(Some(Identity { certificate, key })),
        (Some(certificate), None) => Err(wrong(
            format!(
                "use the certificate {} without a key",
                certificate.display()
            ),
            "name the key in sslkey, or say sslcertmode=disable",
        )),
        (None, _) if mode == Some(true) => Err(wrong(
            "use sslcertmode=require without a certificate".to_owned(),
            "name the certificate in sslcert and its key in sslkey",
        )),
        (None, _) => Ok(None),
    }
}

fn versions(settings: &Settings) -> Result<Versions, ConnectError> {
    const NAMES: &[(&str, u8)] = &[("TLSv1", 0), ("TLSv1.1", 1), ("TLSv1.2", 2), ("TLSv1.3", 3)];
    let lowest = settings
        .choice("ssl_min_protocol_version", NAMES)?
        .unwrap_or(2);
    let highest = settings
        .choice("ssl_max_protocol_version", NAMES)?
        .unwrap_or(3);
    let versions = Versions {
        tls12: lowest <= 2 && highest >= 2,
        tls13: lowest <= 3 && highest >= 3,
    };
    match settings.get("ssl_max_protocol_version") {
        Some(given) if versions.list().is_empty() => Err(invalid(
            "ssl_max_protocol_version",
            &given.origin,
            "expected TLSv1.2 or TLSv1.3",
            None,
        )),
        _ => Ok(versions),
    }
}

/// Reads the files and makes the configuration for handshakes. Called at each connect, so that a certificate
/// renewed during a long run is used.
///
/// # Errors
/// A file is missing, unreadable, or does not hold what it should.
pub(super) fn client_config(settings: &TlsSettings) -> Result<ClientConfig, ConnectError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let check = match (settings.mode, &settings.roots) {
        (SslMode::Disable | SslMode::Prefer, _) | (SslMode::Require, Roots::None) => Check::Nothing,
        (SslMode::Require | SslMode::VerifyCa, _) => Check::Chain,
        (SslMode::VerifyFull, _) => Check::ChainAndName,
    };
    let trusted = match check {
        Check::Nothing => Vec::new(),
        Check::Chain | Check::ChainAndName => trusted(&settings.roots)?,
    };
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(trusted.iter().cloned());
    if check != Check::Nothing && added == 0 {
        return Err(wrong(
            match &settings.roots {
                Roots::File(file) => {
                    format!("use {}: no certificate in it can be a root", file.display())
                }
                Roots::System | Roots::None => {
                    "find the operating system's root certificates".to_owned()
                }
            },
            "name a PEM file with the authority's certificate in sslrootcert",
        ));
    }
    // The certificates of a system are authorities, never a server.
    let pinned = if matches!(settings.roots, Roots::File(_)) {
        trusted
    } else {
        Vec::new()
    };
    let verifier = Arc::new(Verifier {
        check,
        roots,
        pinned,
        provider: Arc::clone(&provider),
    });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&settings.versions.list())
        .map_err(|error| {
            wrong(
                format!("set up TLS: {error}"),
                "see ssl_min_protocol_version",
            )
        })?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &settings.identity {
        Some(identity) => {
            let (chain, key) = load_identity(identity)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                wrong(
                    format!(
                        "use {} with {}: {error}",
                        identity.certificate.display(),
                        identity.key.display()
                    ),
                    "sslcert and sslkey must belong together",
                )
            })?
        }
        None => builder.with_no_client_auth(),
    };
    config.enable_sni = settings.sni;
    if settings.direct {
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(config)
}

fn trusted(roots: &Roots) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    match roots {
        Roots::None => Ok(Vec::new()),
        // What cannot be read among a system's certificates is one authority less, and never more trust.
        Roots::System => Ok(rustls_native_certs::load_native_certs().certs),
        Roots::File(file) => certificates(file, "sslrootcert"),
    }
}

fn certificates(
    file: &Path,
    parameter: &str,
) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let list = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match list {
        Ok(list) if !list.is_empty() => Ok(list),
        Ok(_) => Err(wrong(
            format!(
                "read {} ({parameter}): it holds no certificate",
                file.display()
            ),
            "it must be a PEM file with -----BEGIN CERTIFICATE-----",
        )),
        Err(error) => Err(wrong(
            format!(
                "read {} ({parameter}): {}",
                file.display(),
                pem_text(&error)
            ),
            "it must be a readable PEM file with -----BEGIN CERTIFICATE-----",
        )),
    }
}

fn pem_text(error: &rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::Io(io) => io.to_string(),
        // The others would repeat lines of the file, which may be a key.
        _ => "it is not in PEM form".to_owned(),
    }
}

fn load_identity(
    identity: &Identity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), ConnectError> {
    let chain = certificates(&identity.certificate, "sslcert")?;
    let file = &identity.key;
    let shown = file.display();
    let metadata = std::fs::metadata(file).map_err(|error| {
        wrong(
            format!("read {shown} (sslkey): {error}"),
            "correct the path of the key",
        )
    })?;
    if !metadata.is_file() {
        return Err(wrong(
            format!("read {shown} (sslkey): it is no plain file"),
            "correct the path of the key",
        ));
    }
    // As libpq: a key of root's may be readable by a group, one's own by nobody else.
    let mode = metadata.permissions().mode() & 0o777;
    let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if mode & forbidden != 0 {
        return Err(wrong(
            format!("use {shown} (sslkey): its permissions are {mode:04o} and others may read it"),
            "chmod 0600 the key",
        ));
    }
    let key = PrivateKeyDer::from_pem_file(file).map_err(|error| {
        wrong(
            format!(
                "read {shown} (sslkey): {}",
                match &error {
                    rustls::pki_types::pem::Error::NoItemsFound =>
                        "it holds no unencrypted key".to_owned(),
                    other => pem_text(other),
                }
            ),
            "it must be a PEM file with a key that is not encrypted",
        )
    })?;
    Ok((chain, key))
}

/// The name for the handshake, and whether it may be sent to the server.
///
/// # Errors
/// `verify-full` with a host that no certificate can name.
pub(super) fn server_name(
    settings: &TlsSettings,
    host: &str,
) -> Result<Option<String>, ConnectError> {
    if ServerName::try_from(host).is_ok() {
        return Ok(Some(host.to_owned()));
    }
    match settings.mode {
        SslMode::VerifyFull => Err(wrong(
            format!(
                "use sslmode=verify-full with host `{}`: no certificate can name it",
                host.escape_debug()
            ),
            "connect by a DNS name or an address",
        )),
        _ => Ok(None),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    Nothing,
    Chain,
    ChainAndName,
}

/// Looks at as much of a server's certificate as `sslmode` asks for. The server must always prove that it holds
/// the certificate's key.
#[derive(Debug)]
struct Verifier {
    check: Check,
    roots: RootCertStore,
    pinned: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.check == Check::Nothing {
            return Ok(ServerCertVerified::assertion());
        }
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if !self.pinned.contains(end_entity) {
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &self.roots,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            )?;
        }
        if self.check == Check::ChainAndName {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
