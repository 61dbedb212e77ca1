//! Streaming standbys.
//!
//! The copy is taken as the manual's low-level backup describes: `pg_backup_start`, a copy of the files, then
//! `pg_backup_stop`, whose label goes into the copy. A replication slot, made first, keeps the log that the standby needs,
//! so the log itself is not copied. pg_basebackup is not used, because a fetched server does not bring it.

use std::path::Path;

use super::{Server, ServerSpec, blocking, literal, quote, template};
use crate::error::{Error, Result};

impl Server {
    /// Starts a streaming standby of this server. `name` becomes its replication slot and `application_name`.
    ///
    /// # Errors
    /// When the name is no slot name (lower-case letters, digits, `_`), or the copy or the start fails.
    pub async fn standby(&self, name: &str) -> Result<Server> {
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

        let spec = ServerSpec {
            version: Some(self.version()),
            ..self.spec.clone()
        };
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
            "primary_conninfo = {}\nprimary_slot_name = {}\nhot_standby = on\n",
            literal(&format!(
                "host={} port={} user=postgres application_name={name}",
                self.place.dir.display(),
                self.port
            )),
            literal(name)
        );
        blocking(move || {
            let data = standby.place.data();
            for (file, content) in [("backup_label", label.as_str()), ("standby.signal", "")] {
                let path = data.join(file);
                std::fs::write(&path, content).map_err(|e| Error::io("write", &path, e))?;
                standby.place.account.own(&path)?;
            }
            standby.start_on_free_port(&upstream)?;
            Ok(standby)
        })
        .await
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
