//! PostgreSQL behind the waist.
//!
//! - [`store`]: our schema, runs, steps, events, the lease.
//! - [`lookout`]: notices when the address leads to another server.
//! - [`fence`], [`session`]: how every transaction of ours begins and ends.
//! - [`direct`]: what cannot go through a pooler, and where it goes instead.
//! - [`introspect`]: the catalog, and what a plan's texts mean.
//! - [`guard`]: strong locks within a budget.
//! - [`act`]: steps with their records.
//! - [`ranges`], [`batch`], [`verify`]: tables as ranges, and what is done to their rows.
//! - [`signals`]: what the throttle looks at.
//! - [`sqlstate`]: from an SQLSTATE to what the engine does about it.
//!
//! Every statement is schema-qualified: no `search_path` is trusted.

mod act;
mod batch;
pub mod connect;
mod direct;
mod fence;
mod guard;
pub mod introspect;
mod lookout;
mod ranges;
mod routines;
mod session;
mod signals;
mod sqlstate;
mod standbys;
mod store;
mod verify;

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use pontoon_core::catalog::{Catalog, Question};
use pontoon_core::name::TableName;
use pontoon_core::step::{Action, Backfill, Step};
use uuid::Uuid;

use self::connect::{ConnectOptions, Pool, Purpose};
use self::lookout::Lookout;
use self::session::Session;
use super::{
    Acquired, ActReport, BatchReport, BatchRequest, Beat, Budget, Claim, Command, Database,
    DbError, Direction, Fence, Holder, Live, NewRun, OldWrites, RangeRecord, RunChange, RunFilter,
    RunRecord, Scan, StepChange, StepRecord, StoredEvent, VerifyReport, VerifyRequest,
};
use crate::event::{Event, Sink};

pub use self::signals::Signals;
pub use self::store::schema::{SCHEMA_VERSION, init_sql};

/// A PostgreSQL database.
#[derive(Clone)]
pub struct Postgres {
    inner: Arc<Inner>,
    /// Its standbys, as far as they are watched.
    replicas: Arc<[ConnectOptions]>,
}

struct Inner {
    options: ConnectOptions,
    /// The way around a pooler, when `options` lead to one.
    direct: Option<ConnectOptions>,
    pools: RwLock<Arc<Pools>>,
    /// The tokens of the terms that this process has taken.
    terms: Mutex<Vec<Uuid>>,
    history: signals::History,
}

/// Connections to one server, for as long as it is the right one.
struct Pools {
    /// Of several hosts, which one is the primary has been made sure of.
    surveyed: tokio::sync::OnceCell<()>,
    /// Whether new connections still lead to the same server.
    lookout: Lookout,
    /// Short transactions on our own tables. Apart from the batches', so that
    /// the lease is renewed also when every batch connection is out.
    control: Pool,
    batches: Pool,
}

/// After how many milliseconds the first of all roles of this database looks
/// for a deadlock, as SQL: `deadlock_timeout` as it is set for any of them.
const DEADLOCK_MS: &str = include_str!("deadlock_ms.sql");

/// Connections for our own tables, opened on demand.
const CONTROL_CONNECTIONS: usize = 8;
/// The same for batches.
const BATCH_CONNECTIONS: usize = 16;

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Postgres({})", self.inner.options.display())
    }
}

impl Postgres {
    /// The database that these options lead to. Nothing is connected yet.
    ///
    /// # Errors
    /// When the pools cannot be made.
    pub fn new(options: ConnectOptions) -> Result<Self, DbError> {
        Self::with_direct(options, None)
    }

    /// The same, with the address of the server itself where `options` lead
    /// to a pooler in front of it. Steps that need a session of their own go
    /// there, and so does what watches them.
    ///
    /// # Errors
    /// When the pools cannot be made.
    pub fn with_direct(
        options: ConnectOptions,
        direct: Option<ConnectOptions>,
    ) -> Result<Self, DbError> {
        if let Some(direct) = &direct {
            direct.share_history(&options);
        }
        let pools = Pools::new(&options)?;
        Ok(Self {
            inner: Arc::new(Inner {
                options,
                direct,
                pools: RwLock::new(Arc::new(pools)),
                terms: Mutex::default(),
                history: signals::History::default(),
            }),
            replicas: Arc::new([]),
        })
    }

    /// The same, with standbys whose readers are waited for before a lock is
    /// asked for that would stall or cancel them.
    #[must_use]
    pub fn watching(self, replicas: Vec<ConnectOptions>) -> Self {
        Self {
            replicas: replicas.into(),
            ..self
        }
    }

    fn pools(&self) -> Arc<Pools> {
        let pools = self.inner.pools.read();
        Arc::clone(&pools.unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes sure once, before the first connection, that no two servers of a
    /// list both believe to be the primary.
    async fn surveyed(&self) -> Result<Arc<Pools>, DbError> {
        let pools = self.pools();
        pools
            .surveyed
            .get_or_try_init(|| connect::survey(&self.inner.options))
            .await?;
        Ok(pools)
    }

    /// A pooled connection for a short transaction on our own tables.
    pub(crate) async fn session(&self) -> Result<Session, DbError> {
        Ok(Session::pooled(self.surveyed().await?.control.get().await?))
    }

    /// A pooled connection for a batch or a chunk of a verify pass.
    pub(crate) async fn batch_session(&self) -> Result<Session, DbError> {
        Ok(Session::pooled(self.surveyed().await?.batches.get().await?))
    }

    /// Has this process drawn the token?
    pub(crate) fn has_taken(&self, token: Uuid) -> bool {
        let terms = self.inner.terms.lock();
        terms
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&token)
    }

    /// Remembers a token that this process has drawn.
    pub(crate) fn remember_term(&self, token: Uuid) {
        let terms = self.inner.terms.lock();
        terms.unwrap_or_else(PoisonError::into_inner).push(token);
    }

    /// A connection of its own, for guarded and concurrent steps and for
    /// whoever watches them: no other task of ours ever shares it. It goes
    /// around the pooler where the way around is known.
    pub(crate) async fn own_session(&self, purpose: Purpose) -> Result<Session, DbError> {
        self.surveyed().await?;
        let options = self.inner.direct.as_ref().unwrap_or(&self.inner.options);
        let connection = connect::connect(options, purpose).await?;
        Ok(Session::own(connection))
    }

    /// Is the way around a pooler known?
    pub(crate) fn has_direct(&self) -> bool {
        self.inner.direct.is_some()
    }
}

impl Pools {
    fn new(options: &ConnectOptions) -> Result<Self, DbError> {
        Ok(Self {
            surveyed: tokio::sync::OnceCell::new(),
            lookout: Lookout::default(),
            control: Pool::new(options, Purpose::Control, CONTROL_CONNECTIONS)?,
            batches: Pool::new(options, Purpose::Batch, BATCH_CONNECTIONS)?,
        })
    }
}

impl Database for Postgres {
    type Sampler = Signals;

    async fn inspect(
        &self,
        schema: &str,
        tables: &[TableName],
        questions: &[Question],
    ) -> Result<Catalog, DbError> {
        let request = introspect::Request {
            schema: schema.to_owned(),
            tables: tables.to_vec(),
            questions: questions.to_vec(),
        };
        self.surveyed().await?;
        // Questions make temporary tables, which end with their transaction; a
        // connection of its own ends whatever else they leave.
        let connection = connect::connect(&self.inner.options, Purpose::Introspect).await?;
        Ok(introspect::read(&connection, &request).await?)
    }

    async fn init(&self, app_role: Option<&str>) -> Result<(), DbError> {
        store::schema::init(self, app_role).await
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRecord>, DbError> {
        store::run::runs(self, filter).await
    }

    async fn steps(&self, run: Uuid) -> Result<Vec<StepRecord>, DbError> {
        store::step::steps(self, run).await
    }

    async fn create_run(&self, run: &NewRun) -> Result<RunRecord, DbError> {
        store::run::create(self, run).await
    }

    fn reconnect(&self) -> Result<(), DbError> {
        let fresh = Arc::new(Pools::new(&self.inner.options)?);
        let mut pools = self
            .inner
            .pools
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // What is out comes back to a closed pool, and ends there.
        pools.control.close();
        pools.batches.close();
        *pools = fresh;
        Ok(())
    }

    async fn acquire(
        &self,
        run: Uuid,
        holder: &Holder,
        ttl: Duration,
    ) -> Result<Acquired, DbError> {
        store::lease::acquire(self, run, holder, ttl).await
    }

    async fn join(
        &self,
        run: Uuid,
        holder: &Holder,
        ttl: Duration,
    ) -> Result<Option<Fence>, DbError> {
        store::worker::join(self, run, holder, ttl).await
    }

    async fn renew(&self, fence: &Fence, ttl: Duration, live: &Live) -> Result<Beat, DbError> {
        let pools = self.pools();
        pools.lookout.look(&self.inner.options, fence)?;
        store::lease::renew(self, fence, ttl, live).await
    }

    async fn release(&self, fence: &Fence) -> Result<(), DbError> {
        store::lease::release(self, fence).await
    }

    async fn update_run(&self, fence: &Fence, change: &RunChange) -> Result<(), DbError> {
        store::run::update(self, fence, change).await
    }

    async fn update_step(
        &self,
        fence: &Fence,
        no: u32,
        change: &StepChange,
    ) -> Result<(), DbError> {
        store::step::update(self, fence, no, change).await
    }

    async fn admit(&self, actions: &[(&Step, &Action)]) -> Result<(), DbError> {
        direct::admit(self, actions).await
    }

    async fn unwatched_standbys(&self) -> Result<Vec<String>, DbError> {
        standbys::unwatched(self).await
    }

    async fn act(
        &self,
        fence: &Fence,
        step: &StepRecord,
        direction: Direction,
        budget: &Budget,
        sink: &Sink,
    ) -> Result<ActReport, DbError> {
        act::act(self, fence, step, direction, budget, sink).await
    }

    async fn ranges(&self, fence: &Fence, scan: &Scan) -> Result<Vec<RangeRecord>, DbError> {
        ranges::ranges(self, fence, scan).await
    }

    async fn listed(&self, run: Uuid, step: u32) -> Result<Vec<RangeRecord>, DbError> {
        ranges::share::listed(self, run, step).await
    }

    async fn claim(&self, fence: &Fence, step: u32, pass: u32) -> Result<Claim, DbError> {
        ranges::share::claim(self, fence, step, pass).await
    }

    async fn give_back(
        &self,
        fence: &Fence,
        range: &RangeRecord,
        rest: Duration,
    ) -> Result<(), DbError> {
        ranges::share::give_back(self, fence, range, rest).await
    }

    async fn batch(&self, fence: &Fence, request: &BatchRequest) -> Result<BatchReport, DbError> {
        batch::batch(self, fence, request).await
    }

    async fn is_left(&self, work: &Backfill) -> Result<bool, DbError> {
        batch::left::is_left(self, work).await
    }

    async fn verify_chunk(
        &self,
        fence: &Fence,
        request: &VerifyRequest,
    ) -> Result<VerifyReport, DbError> {
        verify::verify_chunk(self, fence, request).await
    }

    fn sampler(&self, run: Uuid) -> Signals {
        Signals::new(self, run)
    }

    async fn command(&self, run: Uuid, command: &Command, by: &Holder) -> Result<(), DbError> {
        store::command::command(self, run, command, by).await
    }

    async fn events(&self, run: Uuid) -> Result<Vec<StoredEvent>, DbError> {
        store::event::events(self, run).await
    }

    async fn append_event(&self, fence: &Fence, event: &Event) -> Result<(), DbError> {
        store::event::append(self, fence, event).await
    }

    async fn old_writes(&self, run: Uuid) -> Result<OldWrites, DbError> {
        store::old_writes::old_writes(self, run).await
    }
}
