//! Is there a pooler between us and the server?
//!
//! **Method.** At login every server announces a process id and a secret for cancel requests. PostgreSQL announces
//! the id of the backend that serves the session; a pooler that may move a client between backends must announce
//! one of its own (PgBouncer, Odyssey, PgCat and Supavisor draw a random number). So the announced number is compared
//! with what `pg_backend_pid()` says: equal on a direct connection, different behind a pooler. This takes one
//! harmless query, changes no session, and works while the pooler is idle, when asking twice for the process id
//! would twice meet the same backend.
//!
//! **Limits.** It tells that there is a pooler, not its mode: one in session mode, or a cloud provider's proxy that
//! announces its own number but keeps one backend per client, counts as a pooler too. A proxy that only forwards
//! bytes (HAProxy, a tunnel) counts as direct, rightly. Pgpool-II forwards the server's number and counts as direct;
//! it keeps a session on its backends. A random number equals the real one in about one of 2³² sessions.

use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::{Client, SimpleQueryMessage};

/// "Cancel" and "use TLS", in the place where a protocol version stands otherwise (protocol.h, `pqcomm.h`).
const CANCEL_REQUEST: i32 = 80_877_102;
const TLS_REQUEST: i32 = 80_877_103;

/// Whether the session may be served by different backends over time. See the module's page for the method.
///
/// When the announced number cannot be read the answer is yes: then nothing relies on session state.
///
/// # Errors
/// The query failed.
pub async fn is_pooler(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let messages = client
        .simple_query("SELECT pg_catalog.pg_backend_pid()")
        .await?;
    let serving = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse::<i32>().ok(),
        _ => None,
    });
    let announced = announced(client).await;
    Ok(announced.is_none() || announced != serving)
}

/// The process id announced at login. The driver shows it to nobody, but writes it into a cancel request: one is
/// written into memory here and never sent.
async fn announced(client: &Client) -> Option<i32> {
    let (ours, theirs) = tokio::io::duplex(64);
    let token = client.cancel_token();
    let (written, read) = tokio::join!(
        token.cancel_query_raw(theirs, PlainText),
        read_request(ours)
    );
    written.ok().and(read.ok())
}

async fn read_request(mut stream: DuplexStream) -> io::Result<i32> {
    loop {
        let _length = stream.read_i32().await?;
        match stream.read_i32().await? {
            TLS_REQUEST => stream.write_all(b"S").await?,
            CANCEL_REQUEST => {
                let process = stream.read_i32().await?;
                // The secret is read, so that the writer finishes, and dropped.
                stream.read_i32().await?;
                return Ok(process);
            }
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// "TLS" that encrypts nothing, for the stream in memory.
struct PlainText;

impl TlsConnect<DuplexStream> for PlainText {
    type Stream = Plain;
    type Error = io::Error;
    type Future = Ready<io::Result<Plain>>;

    fn connect(self, stream: DuplexStream) -> Self::Future {
        ready(Ok(Plain(stream)))
    }
}

struct Plain(DuplexStream);

impl TlsStream for Plain {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Plain {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Plain {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
