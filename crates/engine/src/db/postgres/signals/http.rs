//! `http`: what an endpoint answers.
//!
//! One GET on a connection of its own, closed with the answer; hyper speaks
//! HTTP/1.1, rustls TLS with the operating system's roots. Dropping the sample
//! closes the socket, so a server that hangs costs a socket for the length of
//! the timeout and nothing else. No redirect is followed: one that leads to a
//! login page would read as 200.
//!
//! No message shows more of the address than scheme, host and path.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use base64::Engine as _;
use hyper::body::{Body, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONNECTION, HOST, USER_AGENT};
use hyper::rt::ReadBufCursor;
use hyper::{Request, Response};
use pontoon_core::plan::signals::{HttpAddress, Watched};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::db::{DbError, ErrorKind, Reading, Sample};

/// As much of a body as is read.
const MOST: usize = 1024;

pub(super) async fn sample(watched: &Watched) -> Result<Sample, DbError> {
    let address = address(watched)?;
    let shown = address.shown();
    let answer = tokio::time::timeout(watched.timeout(), get(&address)).await;
    let (status, body) = match answer {
        Ok(Ok(answer)) => answer,
        Ok(Err(why)) => return Err(failed(&shown, &why)),
        Err(_) => {
            let limit = humantime::format_duration(watched.timeout());
            return Err(failed(&shown, &format!("no answer within {limit}")));
        }
    };
    if (300..400).contains(&status) {
        return Err(failed(
            &shown,
            &format!("{status}, and redirects are not followed"),
        ));
    }
    let value = match watched.text("read") {
        Some("body") if (200..300).contains(&status) => {
            let text = String::from_utf8_lossy(&body);
            let line = text.trim().lines().next().unwrap_or_default().trim();
            match line.parse::<f64>() {
                Ok(value) if value.is_finite() => value,
                _ => return Err(failed(&shown, "the body is no number")),
            }
        }
        Some("body") => return Err(failed(&shown, &format!("status {status}"))),
        _ => f64::from(status),
    };
    Ok(Sample::Readings(vec![Reading::new(value).of(shown)]))
}

fn failed(shown: &str, why: &str) -> DbError {
    DbError::new(ErrorKind::Failed, format!("ask {shown}: {why}"))
}

/// The address of the plan, or of the variable that it names.
fn address(watched: &Watched) -> Result<HttpAddress, DbError> {
    if let Some(url) = watched.text("url") {
        return HttpAddress::read_secret(url)
            .map_err(|why| failed("the address", &format!("it {why}")));
    }
    let name = watched.text("url_env").unwrap_or_default();
    let url = std::env::var(name).map_err(|_| {
        DbError::new(
            ErrorKind::Failed,
            format!("read the address from ${name}: the variable is not set"),
        )
    })?;
    HttpAddress::read_secret(url.trim())
        .map_err(|why| failed(&format!("the address in ${name}"), &format!("it {why}")))
}

async fn get(address: &HttpAddress) -> Result<(u16, Vec<u8>), String> {
    let stream = TcpStream::connect((address.host.as_str(), address.port))
        .await
        .map_err(|error| error.to_string())?;
    if !address.tls {
        return exchange(Io(stream), address).await;
    }
    let name = ServerName::try_from(address.host.clone())
        .map_err(|_| "the host's name fits no certificate".to_owned())?;
    let stream = TlsConnector::from(Arc::new(client_config()?))
        .connect(name, stream)
        .await
        .map_err(|error| error.to_string())?;
    exchange(Io(stream), address).await
}

fn client_config() -> Result<ClientConfig, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = rustls::RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err("the operating system has no root certificates".to_owned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

async fn exchange<S>(io: Io<S>, address: &HttpAddress) -> Result<(u16, Vec<u8>), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let text = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake::<_, String>(io)
        .await
        .map_err(text)?;
    let mut request = Request::get(&address.target)
        .header(HOST, address.authority())
        .header(USER_AGENT, concat!("pontoon/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close");
    if let Some(login) = &address.login {
        let encoded = base64::engine::general_purpose::STANDARD.encode(login);
        request = request.header(AUTHORIZATION, format!("Basic {encoded}"));
    }
    let request = request
        .body(String::new())
        .map_err(|_| "the address makes no request".to_owned())?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(text)?;
        let status = response.status().as_u16();
        Ok::<_, String>((status, read_body(response).await?))
    };
    // The connection moves the bytes; it ends with this future.
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    let mut over = false;
    std::future::poll_fn(|context| {
        if !over && let Poll::Ready(_ended) = connection.as_mut().poll(context) {
            over = true;
        }
        answer.as_mut().poll(context)
    })
    .await
}

async fn read_body(response: Response<Incoming>) -> Result<Vec<u8>, String> {
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while bytes.len() < MOST {
        let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        match frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    bytes.extend_from_slice(data);
                }
            }
            Some(Err(error)) => return Err(error.to_string()),
            None => break,
        }
    }
    bytes.truncate(MOST);
    Ok(bytes)
}

/// A tokio stream as hyper wants it.
struct Io<S>(S);

impl<S: AsyncRead + Unpin> hyper::rt::Read for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        let mut chunk = [0; MOST];
        let room = buffer.remaining().min(chunk.len());
        let mut read = ReadBuf::new(&mut chunk[..room]);
        std::task::ready!(Pin::new(&mut self.0).poll_read(context, &mut read))?;
        buffer.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> hyper::rt::Write for Io<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
