//! Streaming standbys.
//!
//! The copy is taken as the manual's low-level backup describes: `pg_backup_start`, a copy of the files, then
//! `pg_backup_stop`, whose label goes into the copy. A replication slot, made first, keeps the log that the standby needs,
//! so the log itself is not copied. pg_basebackup is not used, because a fetched server does not bring it.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{PATIENCE, Server, ServerSpec, blocking, literal, quote, template};
use crate::error::{Error, Result};

/// What kind of standby is wanted. A name alone, `"eu_1".into()`, is an asynchronous standby without a delay.
#[derive(Clone, Debug)]
pub struct StandbySpec {
    /// Its replication slot and `application_name`: lower-case letters, digits, `_`.
    pub name: String,
    /// How long it waits before it replays a commit (`recovery_min_apply_delay`).
    pub delay: Duration,
    /// Whether every commit on the primary waits until this standby has it on disk.
    pub synchronous: bool,
    /// Settings for its postgresql.conf, which win over those of the primary and of the sandbox.
    pub settings: Vec<(String, String)>,
}

impl StandbySpec {
    /// An asynchronous standby without a delay.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            delay: Duration::ZERO,
            synchronous: false,
            settings: Vec::new(),
        }
    }

    /// Replays every commit this much later than it was made.
    #[must_use]
    pub fn delayed(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Makes the primary's commits wait for it.
    #[must_use]
    pub fn synchronous(mut self) -> Self {
        self.synchronous = true;
        self
    }

    /// Adds a setting for postgresql.conf.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl From<&str> for StandbySpec {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl Server {
    /// Starts a streaming standby of this server, which accepts readers when this returns. It listens on a port and a
    /// socket of its own; [`Server::url`] has the primary's password.
    ///
    /// # Errors
    /// When the name is no slot name (lower-case letters, digits, `_`), or the copy or the start fails.
    pub async fn standby(&self, spec: impl Into<StandbySpec>) -> Result<Server> {
        let wanted = spec.into();
        let name = wanted.name.as_str();
        let client = self.client("postgres").await?;
        client
            .query(
                "SELECT pg_create_physical_replication_slot($1, true)",
                &[&name],
            )
            .await
            .map_err(|e| Error::postgres(format!("create replication slot {}", quote(name)), e))?;
        // The backup belongs to this session until it is stopped.
        let (begin, end) = if self.version() >= 15 {
            (
                "SELECT pg_backup_start($1, true)::text",
                "SELECT labelfile, spcmapfile FROM pg_backup_stop(false)",
            )
        } else {
            (
                "SELECT pg_start_backup($1, true, false)::text",
                "SELECT labelfile, spcmapfile FROM pg_stop_backup(false, false)",
            )
        };
        client
            .query(begin, &[&name])
            .await
            .map_err(|e| Error::postgres("begin a backup", e))?;

        let mut spec = ServerSpec {
            version: Some(self.version()),
            ..self.spec.clone()
        };
        spec.settings.extend(wanted.settings.iter().cloned());
        let mut standby = Server::prepare(
            self.place.installation.clone(),
            self.place.account.clone(),
            spec,
        )?;
        standby.password.clone_from(&self.password);
        let (from, to, account) = (
            self.place.data(),
            standby.place.data(),
            self.place.account.clone(),
        );
        blocking(move || template::copy_tree(&from, &to, &account, &not_in_a_backup)).await?;

        let row = client
            .query_one(end, &[])
            .await
            .map_err(|e| Error::postgres("end a backup", e))?;
        let label: String = row.get(0);
        let upstream = format!(
            "primary_conninfo = {}\nprimary_slot_name = {}\nhot_standby = on\n\
             recovery_min_apply_delay = {}\n",
            literal(&format!(
                "host={} port={} user=postgres application_name={name}",
                self.place.dir.display(),
                self.port
            )),
            literal(name),
            wanted.delay.as_millis()
        );
        let standby = blocking(move || {
            let data = standby.place.data();
            for (file, content) in [("backup_label", label.as_str()), ("standby.signal", "")] {
                let path = data.join(file);
                std::fs::write(&path, content).map_err(|e| Error::io("write", &path, e))?;
                standby.place.account.own(&path)?;
            }
            standby.start_on_free_port(&upstream)?;
            Ok(standby)
        })
        .await?;
        if wanted.synchronous {
            self.alter_system("synchronous_standby_names", &quote(name))
                .await?;
        }
        Ok(standby)
    }

    /// Stops a standby from replaying what it receives; it goes on receiving. Returns when replay stands still.
    ///
    /// # Errors
    /// When this server is no standby, or replay does not stop within a minute.
    pub async fn pause_replay(&self) -> Result<()> {
        let client = self.client("postgres").await?;
        client
            .batch_execute("SELECT pg_wal_replay_pause()")
            .await
            .map_err(|e| Error::postgres("pause the replay", e))?;
        self.until("pause the replay", || async {
            let row = client
                .query_one("SELECT pg_get_wal_replay_pause_state() = 'paused'", &[])
                .await
                .map_err(|e| Error::postgres("pause the replay", e))?;
            Ok(row.get(0))
        })
        .await
    }

    /// Lets a standby replay again.
    ///
    /// # Errors
    /// When this server is no standby.
    pub async fn resume_replay(&self) -> Result<()> {
        self.client("postgres")
            .await?
            .batch_execute("SELECT pg_wal_replay_resume()")
            .await
            .map_err(|e| Error::postgres("resume the replay", e))
    }

    /// Cuts a standby off from its primary: from now on it receives nothing, and when it is promoted, what the primary
    /// commits after this is lost. Returns when its receiver has ended.
    ///
    /// # Errors
    /// When this server is no standby, or the receiver does not end within a minute.
    pub async fn cut_stream(&self) -> Result<()> {
        self.alter_system("primary_conninfo", "").await?;
        let client = self.client("postgres").await?;
        self.until("cut off the standby", || async {
            let row = client
                .query_one("SELECT NOT EXISTS (SELECT FROM pg_stat_wal_receiver)", &[])
                .await
                .map_err(|e| Error::postgres("cut off the standby", e))?;
            Ok(row.get(0))
        })
        .await
    }

    /// Lets a standby that was cut off receive from its primary again.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn restore_stream(&self) -> Result<()> {
        self.client("postgres")
            .await?
            .batch_execute("ALTER SYSTEM RESET primary_conninfo")
            .await
            .map_err(|e| Error::postgres("reset primary_conninfo", e))?;
        self.client("postgres")
            .await?
            .batch_execute("SELECT pg_reload_conf()")
            .await
            .map_err(|e| Error::postgres("reset primary_conninfo", e))
    }

    /// Waits until this standby has replayed everything that `primary` has written so far.
    ///
    /// # Errors
    /// When it has not after a minute, or one of the two cannot be asked.
    pub async fn catch_up(&self, primary: &Server) -> Result<()> {
        let row = primary
            .client("postgres")
            .await?
            .query_one("SELECT pg_current_wal_lsn()::text", &[])
            .await
            .map_err(|e| Error::postgres("read the position of the log", e))?;
        let position: String = row.get(0);
        let client = self.client("postgres").await?;
        self.until("catch up", || async {
            let row = client
                .query_one(
                    "SELECT coalesce(pg_last_wal_replay_lsn() >= $1::text::pg_lsn, false)",
                    &[&position],
                )
                .await
                .map_err(|e| Error::postgres("read the position of the replay", e))?;
            Ok(row.get(0))
        })
        .await
    }

    /// Changes a setting of the running server that needs no restart; an empty value is the empty text.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn alter_system(&self, setting: &str, value: &str) -> Result<()> {
        let client = self.client("postgres").await?;
        // ALTER SYSTEM runs in no transaction, and two statements in one message are one.
        let set = format!("ALTER SYSTEM SET {} = {}", quote(setting), literal(value));
        for statement in [set.as_str(), "SELECT pg_reload_conf()"] {
            client
                .batch_execute(statement)
                .await
                .map_err(|e| Error::postgres(format!("change {setting}"), e))?;
        }
        Ok(())
    }

    async fn until<F: Future<Output = Result<bool>>>(
        &self,
        action: &'static str,
        is_true: impl Fn() -> F,
    ) -> Result<()> {
        let begun = Instant::now();
        while !is_true().await? {
            if begun.elapsed() > PATIENCE {
                return Err(self.error(action, format!("in vain for {PATIENCE:?}")));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Makes a standby a primary and waits until it accepts writes.
    ///
    /// # Errors
    /// When this server is no standby, or promotion takes longer than a minute.
    pub async fn promote(&self) -> Result<()> {
        let client = self.client("postgres").await?;
        let row = client
            .query_one("SELECT pg_promote(true, 60)", &[])
            .await
            .map_err(|e| Error::postgres("promote the standby", e))?;
        if row.get(0) {
            Ok(())
        } else {
            Err(self.error("promote", "not promoted after 60 s".into()))
        }
    }
}

/// What a copy leaves out: the pid file, the log (the slot keeps it), slots of the primary, and what a start empties anyway.
fn not_in_a_backup(path: &Path) -> bool {
    let text = path.to_string_lossy();
    if matches!(
        &*text,
        "postmaster.pid" | "postmaster.opts" | "pg_internal.init"
    ) || text.contains("pgsql_tmp")
    {
        return true;
    }
    let Some((top, below)) = text.split_once('/') else {
        return false;
    };
    match top {
        "pg_wal" => below != "archive_status" && below != "summaries",
        "pg_replslot" | "pg_dynshmem" | "pg_notify" | "pg_serial" | "pg_snapshots"
        | "pg_stat_tmp" | "pg_subtrans" => true,
        _ => false,
    }
}
