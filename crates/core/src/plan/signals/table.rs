//! Every signal's declaration.

use std::time::Duration;

use super::{Measure, Setting, SettingKind, Signal, Unit, Unknown};

const QUARTER: Duration = Duration::from_millis(250);
const HALF: Duration = Duration::from_millis(500);
const SECOND: Duration = Duration::from_secs(1);
const FIVE: Duration = Duration::from_secs(5);

const TIMEOUT: Setting = Setting {
    key: "timeout",
    kind: SettingKind::Text("time-span"),
    about: "How long an answer may take. Default: 2s.",
};

/// What most signals are; each says what it is besides.
const PLAIN: Signal = Signal {
    name: "",
    about: "",
    measures: &[],
    settings: &[],
    short: "limit",
    on: false,
    unknown: Unknown::Hold,
    alone: false,
    every: SECOND,
    calm: SECOND,
    page: "",
};

/// A signal with one limit.
const fn limit(unit: Unit, default: &'static str, about: &'static str) -> Measure {
    Measure {
        key: "limit",
        unit,
        default: Some(default),
        about,
    }
}

/// Every signal, in the order of their names.
pub const KNOWN: &[Signal] = &[
    Signal {
        name: "active_sessions",
        about: "Application sessions that are executing a statement now.",
        measures: &[limit(
            Unit::Count,
            "100",
            "Sessions of all databases, Pontoon's own left out.",
        )],
        page: include_str!("active_sessions.md"),
        ..PLAIN
    },
    Signal {
        name: "archiver_backlog",
        about: "Segments of the write-ahead log that wait for archive_command.",
        measures: &[limit(
            Unit::Count,
            "256",
            "Segments, 16 MB each by default.",
        )],
        on: true,
        every: FIVE,
        page: include_str!("archiver_backlog.md"),
        ..PLAIN
    },
    Signal {
        name: "blocked_sessions",
        about: "Sessions that wait for a lock of ours.",
        measures: &[limit(
            Unit::Count,
            "1",
            "Sessions that `pg_blocking_pids` shows behind this run.",
        )],
        on: true,
        every: QUARTER,
        calm: Duration::ZERO,
        page: include_str!("blocked_sessions.md"),
        ..PLAIN
    },
    Signal {
        name: "checkpoint_requests",
        about: "Checkpoints forced by the volume of writes within five minutes.",
        measures: &[limit(
            Unit::Count,
            "3",
            "Checkpoints that came before `checkpoint_timeout`.",
        )],
        unknown: Unknown::Ignore,
        every: FIVE,
        page: include_str!("checkpoint_requests.md"),
        ..PLAIN
    },
    Signal {
        name: "commit_latency",
        about: "How long a commit takes.",
        measures: &[limit(
            Unit::Time,
            "100ms",
            "The middle one of the last three commits.",
        )],
        alone: true,
        every: HALF,
        page: include_str!("commit_latency.md"),
        ..PLAIN
    },
    Signal {
        name: "dead_tuples",
        about: "Dead rows of a table that the run works on.",
        measures: &[
            limit(
                Unit::Percent,
                "50%",
                "Dead rows among all rows of the table.",
            ),
            Measure {
                key: "rows",
                unit: Unit::Count,
                default: None,
                about: "Dead rows of the table.",
            },
        ],
        unknown: Unknown::Ignore,
        every: SECOND,
        page: include_str!("dead_tuples.md"),
        ..PLAIN
    },
    Signal {
        name: "file",
        about: "A file on the machine that runs Pontoon: work is held while it exists.",
        measures: &[limit(Unit::Count, "1", "1 while the file exists, else 0.")],
        settings: &[Setting {
            key: "path",
            kind: SettingKind::Text("file-path"),
            about: "The file.",
        }],
        short: "path",
        alone: true,
        every: HALF,
        calm: Duration::ZERO,
        page: include_str!("file.md"),
        ..PLAIN
    },
    Signal {
        name: "http",
        about: "What an HTTP endpoint answers.",
        measures: &[limit(
            Unit::Count,
            "400",
            "The status code; with `read: body` the number in the answer's body.",
        )],
        settings: &[
            Setting {
                key: "url",
                kind: SettingKind::Text("http-url"),
                about: "The address, without a password.",
            },
            Setting {
                key: "url_env",
                kind: SettingKind::Text("environment-variable"),
                about: "The environment variable that holds the address, for one with a password or a token.",
            },
            Setting {
                key: "read",
                kind: SettingKind::Words(&["status", "body"]),
                about: "What the reading is. Default: status.",
            },
            TIMEOUT,
        ],
        short: "url",
        alone: true,
        page: include_str!("http.md"),
        ..PLAIN
    },
    Signal {
        name: "lock_waits",
        about: "Sessions of this database that wait for any lock, whoever holds it.",
        measures: &[limit(
            Unit::Count,
            "10",
            "Sessions that wait, Pontoon's own left out.",
        )],
        every: HALF,
        page: include_str!("lock_waits.md"),
        ..PLAIN
    },
    Signal {
        name: "oldest_transaction",
        about: "Age of the oldest open transaction in this database.",
        measures: &[limit(Unit::Time, "30m", "Since the transaction began.")],
        page: include_str!("oldest_transaction.md"),
        ..PLAIN
    },
    Signal {
        name: "query",
        about: "A number that your SQL returns.",
        measures: &[limit(
            Unit::Count,
            "1",
            "For the largest number that the query returns.",
        )],
        settings: &[
            Setting {
                key: "sql",
                kind: SettingKind::Text("sql-query"),
                about: "One SELECT that returns a number, or rows of a name and a number.",
            },
            TIMEOUT,
        ],
        short: "sql",
        alone: true,
        page: include_str!("query.md"),
        ..PLAIN
    },
    Signal {
        name: "replication_lag",
        about: "How far the standbys are behind, and how close replication slots are to being lost.",
        measures: &[
            limit(
                Unit::Time,
                "10s",
                "Time by which a connected standby is behind.",
            ),
            Measure {
                key: "bytes",
                unit: Unit::Bytes,
                default: None,
                about: "Log that a connected standby has not replayed.",
            },
            Measure {
                key: "slot_retained",
                unit: Unit::Bytes,
                default: None,
                about: "Log that the server keeps for a replication slot.",
            },
            Measure {
                key: "slot_used",
                unit: Unit::Percent,
                default: Some("90%"),
                about: "Share of `max_slot_wal_keep_size` that a slot has used up: at 100% it is lost.",
            },
        ],
        settings: &[Setting {
            key: "except",
            kind: SettingKind::List,
            about: "Standbys (their `application_name`) and slots that are not looked at.",
        }],
        on: true,
        every: HALF,
        page: include_str!("replication_lag.md"),
        ..PLAIN
    },
    Signal {
        name: "wal_rate",
        about: "Log that the server writes, by whomever.",
        measures: &[limit(Unit::Rate, "100MB/s", "Over the last five seconds.")],
        unknown: Unknown::Ignore,
        every: SECOND,
        page: include_str!("wal_rate.md"),
        ..PLAIN
    },
    Signal {
        name: "wraparound_vacuum",
        about: "Autovacuum workers that work on a table of this run to prevent wraparound.",
        measures: &[limit(Unit::Count, "1", "Such workers.")],
        on: true,
        unknown: Unknown::Ignore,
        every: FIVE,
        page: include_str!("wraparound_vacuum.md"),
        ..PLAIN
    },
];
