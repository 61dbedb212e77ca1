//! What a case of the matrix is, and its name, which is enough to repeat it.

use std::fmt;
use std::str::FromStr;

/// Which way the run goes when the fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Way {
    /// To the gate, and through contract.
    Forward,
    /// Back from the gate, or from the middle of the backfill.
    Back,
}

/// Where the fault strikes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Place {
    /// At the failpoint of this name: the process stands still while it happens.
    Boundary(String),
    /// At an instant that the seed chooses.
    Any,
}

/// What the application does meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Traffic {
    /// Nothing.
    Quiet,
    /// Clients of both versions with some think time.
    Mixed,
    /// More of them, without any.
    Hot,
}

/// What goes wrong. To add one: a line here and in [`Fault::ALL`], its name,
/// and what it does in `strike.rs`; a fault that replaces the server (a
/// failover) does so through `Stage::server`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// SIGKILL.
    Kill,
    /// SIGSTOP until the lease has ended by the database's clock, which is
    /// set back so that nobody waits; another runner takes over; SIGCONT.
    Stop,
    /// The same with a lease that ends by itself.
    StopLong,
    /// `pg_terminate_backend` of some of our sessions, some times.
    Terminate,
    /// The server is stopped immediate, as in a crash, and started again.
    Restart,
    /// The connection is cut before a message that commits reaches the server.
    CutBefore,
    /// The connection is cut after the server has executed it.
    CutAfter,
    /// Nothing passes for a second or two, the sockets staying open.
    Hang,
    /// Nothing passes until the process gives up.
    HangLong,
    /// No file of a table or index can grow.
    DiskData,
    /// The write-ahead log cannot grow: the server panics.
    DiskWal,
    /// The clock of our machine jumps by seconds, days and decades.
    Clock,
    /// A second runner is started beside the first.
    Second,
    /// Somebody holds a table of ours in ACCESS EXCLUSIVE mode.
    Locked,
}

impl Fault {
    pub(crate) const ALL: [Self; 14] = [
        Self::Kill,
        Self::Stop,
        Self::StopLong,
        Self::Terminate,
        Self::Restart,
        Self::CutBefore,
        Self::CutAfter,
        Self::Hang,
        Self::HangLong,
        Self::DiskData,
        Self::DiskWal,
        Self::Clock,
        Self::Second,
        Self::Locked,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::StopLong => "stop-long",
            Self::Terminate => "terminate",
            Self::Restart => "restart",
            Self::CutBefore => "cut-before",
            Self::CutAfter => "cut-after",
            Self::Hang => "hang",
            Self::HangLong => "hang-long",
            Self::DiskData => "disk-data",
            Self::DiskWal => "disk-wal",
            Self::Clock => "clock",
            Self::Second => "second",
            Self::Locked => "locked",
        }
    }

    /// Whether a case takes ten seconds or more, because a lease has to end.
    pub(crate) fn is_slow(self) -> bool {
        matches!(self, Self::StopLong | Self::HangLong)
    }
}

/// One case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Case {
    pub(crate) version: u32,
    pub(crate) scenario: String,
    pub(crate) way: Way,
    pub(crate) fault: Fault,
    pub(crate) place: Place,
    pub(crate) traffic: Traffic,
    pub(crate) seed: u64,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.way {
            Way::Forward => "forward",
            Way::Back => "back",
        };
        let place = match &self.place {
            Place::Boundary(name) => name,
            Place::Any => "any",
        };
        let traffic = match self.traffic {
            Traffic::Quiet => "quiet",
            Traffic::Mixed => "mixed",
            Traffic::Hot => "hot",
        };
        write!(
            f,
            "{}/{}/{way}/{}/{place}/{traffic}/{}",
            self.version,
            self.scenario,
            self.fault.name(),
            self.seed
        )
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            format!(
                "`{text}` is no case: {what}; expected \
                 VERSION/SCENARIO/forward|back/FAULT/BOUNDARY|any/quiet|mixed|hot/SEED"
            )
        };
        let parts: Vec<&str> = text.split('/').collect();
        let [version, scenario, way, fault, place, traffic, seed] = parts[..] else {
            return Err(wrong("it has not seven parts"));
        };
        Ok(Self {
            version: version.parse().map_err(|_| wrong("version"))?,
            scenario: scenario.to_owned(),
            way: match way {
                "forward" => Way::Forward,
                "back" => Way::Back,
                _ => return Err(wrong("way")),
            },
            fault: Fault::ALL
                .into_iter()
                .find(|known| known.name() == fault)
                .ok_or_else(|| wrong("fault"))?,
            place: match place {
                "any" => Place::Any,
                name => Place::Boundary(name.to_owned()),
            },
            traffic: match traffic {
                "quiet" => Traffic::Quiet,
                "mixed" => Traffic::Mixed,
                "hot" => Traffic::Hot,
                _ => return Err(wrong("traffic")),
            },
            seed: seed.parse().map_err(|_| wrong("seed"))?,
        })
    }
}

#[test]
fn a_case_is_known_by_its_name() {
    for fault in Fault::ALL {
        let case = Case {
            version: 14,
            scenario: "orders".into(),
            way: Way::Back,
            fault,
            place: Place::Boundary("batch.end@3".into()),
            traffic: Traffic::Hot,
            seed: 7,
        };
        assert_eq!(case.to_string().parse(), Ok(case));
    }
    assert!("14/orders/forward/no/any/hot/1".parse::<Case>().is_err());
}
