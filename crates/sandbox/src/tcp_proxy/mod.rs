//! A TCP proxy between a client and a server that fails on command.
//!
//! It understands just enough of PostgreSQL's protocol to cut a connection at the worst moment: when a certain
//! statement is about to reach the server, or when the server has executed it and the client must not learn so.
//! The client is then in doubt, as after a real network failure around COMMIT.
//!
//! It cannot look into TLS: an encrypted connection passes, but [`TcpProxy::cut_at`] never matches on it.

mod protocol;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::protocol::{Backend, Frontend};
use crate::error::{Error, Result};
use crate::server::Server;

/// On which side of a statement's execution the connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The statement never reaches the server: whatever was open there is rolled back.
    Before,
    /// The server has executed the statement and answered; the answer never reaches the client.
    After,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Traffic {
    Pass,
    Hang,
    Refuse,
}

#[derive(Clone, Copy, Debug)]
struct State {
    traffic: Traffic,
    /// Connections opened under an older number than this are cut.
    generation: u64,
}

#[derive(Clone, Debug)]
struct Cut {
    fragment: String,
    moment: Moment,
    skip: usize,
}

#[derive(Debug)]
struct Shared {
    /// Where it led at first; URLs are made from that.
    first: SocketAddr,
    target: Mutex<SocketAddr>,
    state: watch::Sender<State>,
    cut: Mutex<Option<Cut>>,
    cuts: AtomicU64,
    open: AtomicUsize,
}

impl Shared {
    /// Whether this statement is the one to cut at; disarms the cut when it is.
    fn matches(&self, sql: &str) -> bool {
        let guard = self
            .cut
            .lock()
            .expect("no code panics while it holds this lock");
        guard
            .as_ref()
            .is_some_and(|cut| sql.to_ascii_lowercase().contains(&cut.fragment))
    }

    fn due(&self) -> Option<Moment> {
        let mut guard = self
            .cut
            .lock()
            .expect("no code panics while it holds this lock");
        let cut = guard.as_mut()?;
        if cut.skip > 0 {
            cut.skip -= 1;
            return None;
        }
        guard.take().map(|cut| cut.moment)
    }
}

/// A running proxy. It ends, and its connections with it, when this value is dropped.
#[derive(Debug)]
pub struct TcpProxy {
    shared: Arc<Shared>,
    port: u16,
    accepting: JoinHandle<()>,
}

impl TcpProxy {
    /// Starts a proxy to a sandbox server. The server may be stopped and started again behind it.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(server: &Server) -> Result<Self> {
        Self::to(SocketAddr::from(([127, 0, 0, 1], server.port()))).await
    }

    /// Starts a proxy to any address.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn to(target: SocketAddr) -> Result<Self> {
        let bound = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener =
            bound.map_err(|e| Error::Unusable(format!("bind a port for the proxy: {e}")))?;
        let port = listener
            .local_addr()
            .map_err(|e| Error::Unusable(format!("read the proxy's port: {e}")))?
            .port();
        let (state, _) = watch::channel(State {
            traffic: Traffic::Pass,
            generation: 0,
        });
        let shared = Arc::new(Shared {
            first: target,
            target: Mutex::new(target),
            state,
            cut: Mutex::new(None),
            cuts: AtomicU64::new(0),
            open: AtomicUsize::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            shared,
            port,
            accepting,
        })
    }

    /// The proxy's port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A server's URL with the proxy's port in place of the server's.
    pub fn url(&self, direct: &str) -> String {
        direct.replacen(
            &format!(":{}/", self.shared.first.port()),
            &format!(":{}/", self.port),
            1,
        )
    }

    /// Leads new connections to another server, as an address that moves in a failover. Open ones stay where they are;
    /// [`TcpProxy::cut`] ends them.
    pub fn redirect(&self, server: &Server) {
        *self
            .shared
            .target
            .lock()
            .expect("no code panics while it holds this lock") =
            SocketAddr::from(([127, 0, 0, 1], server.port()));
    }

    /// Cuts every open connection with a reset; new connections pass.
    pub fn cut(&self) {
        self.set(Traffic::Pass, true);
    }

    /// Cuts every open connection and every new one, until [`TcpProxy::pass`].
    pub fn refuse(&self) {
        self.set(Traffic::Refuse, true);
    }

    /// Forwards nothing more in either direction while connections stay open, until [`TcpProxy::pass`].
    pub fn hang(&self) {
        self.set(Traffic::Hang, false);
    }

    /// Forwards again; what was held back by [`TcpProxy::hang`] is delivered.
    pub fn pass(&self) {
        self.set(Traffic::Pass, false);
    }

    /// Cuts the connection that next executes a statement whose text contains `fragment` (in any case of ASCII
    /// letters), after letting `skip` such statements through. One connection is cut; then the proxy passes again.
    pub fn cut_at(&self, fragment: &str, moment: Moment, skip: usize) {
        let cut = Cut {
            fragment: fragment.to_ascii_lowercase(),
            moment,
            skip,
        };
        *self
            .shared
            .cut
            .lock()
            .expect("no code panics while it holds this lock") = Some(cut);
    }

    /// How many connections [`TcpProxy::cut_at`] has cut so far.
    pub fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::SeqCst)
    }

    /// How many connections are open now.
    pub fn open_connections(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    fn set(&self, traffic: Traffic, cut_open: bool) {
        self.shared.state.send_modify(|state| {
            state.traffic = traffic;
            state.generation += u64::from(cut_open);
        });
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.set(Traffic::Refuse, true);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                tokio::spawn(serve(client, Arc::clone(&shared)));
            }
            Err(error) => {
                tracing::debug!("the proxy could not accept a connection: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    }
}

/// One connection, from its acceptance to its end.
async fn serve(client: TcpStream, shared: Arc<Shared>) {
    let state = shared.state.subscribe();
    let born = *state.borrow();
    if born.traffic == Traffic::Refuse {
        return reset(&client);
    }
    let target = *shared
        .target
        .lock()
        .expect("no code panics while it holds this lock");
    let Ok(server) = TcpStream::connect(target).await else {
        return reset(&client);
    };
    for socket in [&client, &server] {
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!("the proxy could not set TCP_NODELAY: {error}");
        }
    }
    shared.open.fetch_add(1, Ordering::SeqCst);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let answers = Arc::new(Answers::default());
    let up = upstream(
        from_client,
        to_server,
        state.clone(),
        Arc::clone(&shared),
        Arc::clone(&answers),
    );
    let down = downstream(
        from_server,
        to_client,
        state.clone(),
        Arc::clone(&shared),
        answers,
    );
    let cut = cut_off(state, born.generation);
    let (up, down) = (tokio::spawn(up), tokio::spawn(down));
    let (up_abort, down_abort) = (up.abort_handle(), down.abort_handle());
    // Either direction's end is the end of both: a half-open connection helps nobody here.
    tokio::select! {
        _ = up => {}
        _ = down => {}
        () = cut => {}
    }
    up_abort.abort();
    down_abort.abort();
    shared.open.fetch_sub(1, Ordering::SeqCst);
}

/// What the two directions of a connection tell each other.
#[derive(Debug, Default)]
struct Answers {
    /// After how many answers (`ReadyForQuery`) the connection is to be cut; 0 means that it is not.
    cut_after: AtomicU64,
    encrypted: std::sync::atomic::AtomicBool,
    negotiating: std::sync::atomic::AtomicBool,
}

async fn upstream(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    shared: Arc<Shared>,
    answers: Arc<Answers>,
) {
    let mut frontend = Frontend::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        flowing(&mut state).await;
        let mut pending = Vec::new();
        frontend.push(&buffer[..read]);
        while let Some(message) = frontend.next(&|sql| shared.matches(sql)) {
            answers
                .negotiating
                .store(frontend.negotiating(), Ordering::SeqCst);
            answers
                .encrypted
                .store(frontend.encrypted(), Ordering::SeqCst);
            match message.executes_match.then(|| shared.due()).flatten() {
                None => pending.extend_from_slice(&message.bytes),
                Some(Moment::Before) => {
                    // What precedes the statement is delivered, so that the server has it in an open transaction.
                    if to.write_all(&pending).await.is_ok() {
                        shared.cuts.fetch_add(1, Ordering::SeqCst);
                    }
                    reset(from.as_ref());
                    reset(to.as_ref());
                    return;
                }
                Some(Moment::After) => {
                    pending.extend_from_slice(&message.bytes);
                    // The first answer is the one that ends the log-in.
                    answers
                        .cut_after
                        .store(frontend.answers_due() + 1, Ordering::SeqCst);
                }
            }
        }
        if to.write_all(&pending).await.is_err() {
            return;
        }
    }
}

async fn downstream(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    shared: Arc<Shared>,
    answers: Arc<Answers>,
) {
    let mut backend = Backend::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        flowing(&mut state).await;
        let bytes = &buffer[..read];
        if !answers.encrypted.load(Ordering::SeqCst) {
            if answers.negotiating.load(Ordering::SeqCst) {
                backend.skip_one();
                answers.negotiating.store(false, Ordering::SeqCst);
            }
            backend.push(bytes);
        }
        let cut_after = answers.cut_after.load(Ordering::SeqCst);
        if cut_after == 0 {
            if to.write_all(bytes).await.is_err() {
                return;
            }
        } else if backend.answers() >= cut_after {
            shared.cuts.fetch_add(1, Ordering::SeqCst);
            reset(from.as_ref());
            reset(to.as_ref());
            return;
        }
    }
}

/// Waits while traffic hangs.
async fn flowing(state: &mut watch::Receiver<State>) {
    // An error means that the proxy is gone, and then `serve` ends this connection.
    if state
        .wait_for(|state| state.traffic != Traffic::Hang)
        .await
        .is_err()
    {
        std::future::pending().await
    }
}

async fn cut_off(mut state: watch::Receiver<State>, born: u64) {
    if let Err(gone) = state.wait_for(|state| state.generation != born).await {
        tracing::trace!("the proxy is gone: {gone}");
    }
}

/// Makes the coming close an abrupt one: the peer gets a reset instead of an orderly end.
fn reset(socket: &TcpStream) {
    if let Err(error) = socket.set_zero_linger() {
        tracing::debug!("the proxy could not prepare a reset: {error}");
    }
}
