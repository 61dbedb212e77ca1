//! The processor time of a server, on systems that tell it (Linux).
//!
//! Wall time on a busy machine says more about the others than about us. The
//! processor time that the same work costs does not.

use std::time::Duration;

/// Kernel ticks per second as `/proc` counts them (`USER_HZ`, 100 on every
/// Linux that PostgreSQL runs on).
const TICKS: u64 = 100;

/// What the postmaster and all its children have used so far, dead ones included.
pub(crate) fn of_server(postmaster: u32) -> Option<Duration> {
    let own = Stat::read(postmaster)?;
    let mut ticks = own.used + own.children;
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else {
            continue;
        };
        if let Some(stat) = Stat::read(pid)
            && stat.parent == postmaster
        {
            ticks += stat.used + stat.children;
        }
    }
    Some(Duration::from_millis(ticks * 1_000 / TICKS))
}

struct Stat {
    parent: u32,
    used: u64,
    children: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything; fields are counted behind it.
        let (_, fields) = text.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self {
            parent: u32::try_from(number(1)?).ok()?,
            used: number(11)? + number(12)?,
            children: number(13)? + number(14)?,
        })
    }
}
