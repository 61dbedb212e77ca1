//! Which cases are run.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

use super::case::{Case, Fault, Place, Traffic, Way};
use super::reference::Reference;
use super::scenario;

/// What `PONTOON_FAULTS` asks for.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    /// Nothing said: a fair sample in about a minute.
    Sample,
    /// Every place × scenario × way × fault, and 1,000 random kills.
    All,
    /// `kills=N`: SIGKILL at random instants.
    Kills(usize),
    /// `random=N`: cases drawn from the whole matrix.
    Random(usize),
    /// `of=TEXT`: every case of the matrix whose name contains each of these
    /// texts, for example `of=/kill/,/orders/`.
    Of(Vec<String>),
    /// Names of cases.
    These(Vec<Case>),
}

/// What is wanted, how and for how long.
#[derive(Clone, Debug)]
pub(crate) struct Draw {
    pub(crate) wanted: Wanted,
    pub(crate) seed: u64,
    pub(crate) lanes: usize,
    longest: Option<Duration>,
}

impl Draw {
    pub(crate) fn from_environment() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let number = |name: &str| {
            variable(name).map(|text| {
                text.parse::<u64>()
                    .unwrap_or_else(|_| panic!("{name} is no number: {text}"))
            })
        };
        let wanted = match variable("PONTOON_FAULTS").as_deref() {
            None => Wanted::Sample,
            Some(text) => wanted(text),
        };
        Self {
            wanted,
            seed: number("PONTOON_SEED").unwrap_or_else(|| rand::random_range(0..1_000_000)),
            lanes: number("PONTOON_FAULTS_LANES").map_or_else(lanes, |lanes| {
                usize::try_from(lanes)
                    .expect("as many lanes as this fit")
                    .max(1)
            }),
            longest: variable("PONTOON_FAULTS_TIME").map(|text| duration(&text)),
        }
    }

    pub(crate) fn until(&self, begun: Instant) -> Option<Instant> {
        self.longest.map(|longest| begun + longest)
    }

    /// The versions that have cases.
    pub(crate) fn versions(&self, known: &[u32]) -> Vec<u32> {
        match &self.wanted {
            Wanted::These(cases) => {
                let mut versions: Vec<u32> = cases.iter().map(|case| case.version).collect();
                versions.sort_unstable();
                versions.dedup();
                versions
            }
            _ => known.to_vec(),
        }
    }

    /// The scenarios that have cases.
    pub(crate) fn scenarios(&self) -> Vec<String> {
        match &self.wanted {
            Wanted::These(cases) => cases.iter().map(|case| case.scenario.clone()).collect(),
            // A reference costs some seconds; three tell most of it.
            Wanted::Sample => ["orders", "parts", "tight"].map(str::to_owned).into(),
            Wanted::Of(texts) if texts.iter().any(|text| !named(text).is_empty()) => {
                texts.iter().flat_map(|text| named(text)).collect()
            }
            _ => scenario::all()
                .into_iter()
                .map(|scenario| scenario.name.to_owned())
                .collect(),
        }
    }

    /// The cases of a version.
    pub(crate) fn cases(
        &self,
        version: u32,
        known: &BTreeMap<String, Arc<Reference>>,
    ) -> Vec<Case> {
        let mut random = StdRng::seed_from_u64(self.seed ^ u64::from(version) << 32);
        let kill = |random: &mut StdRng| {
            let (scenario, way) = subject(known, random);
            case(random, version, scenario, way, Fault::Kill, Place::Any)
        };
        let every = |random: &mut StdRng, faults: &[Fault]| {
            let mut cases = Vec::new();
            for (scenario, reference) in known {
                for way in [Way::Forward, Way::Back] {
                    for &fault in faults {
                        if fault == Fault::DiskData && way == Way::Back {
                            continue;
                        }
                        for place in reference.places(way, fault) {
                            cases.push(case(random, version, scenario, way, fault, place));
                        }
                    }
                }
            }
            cases.shuffle(random);
            cases
        };
        match &self.wanted {
            Wanted::These(cases) => cases
                .iter()
                .filter(|case| case.version == version)
                .cloned()
                .collect(),
            Wanted::Kills(count) => (0..*count).map(|_| kill(&mut random)).collect(),
            Wanted::Random(count) => (0..*count)
                .map(|_| any(known, &mut random, version))
                .collect(),
            Wanted::Of(texts) => every(&mut random, &Fault::ALL)
                .into_iter()
                .filter(|case| {
                    let name = case.to_string();
                    texts.iter().all(|text| name.contains(text))
                })
                .collect(),
            Wanted::All => {
                let mut cases = every(&mut random, &Fault::ALL);
                cases.extend((0..1000).map(|_| kill(&mut random)));
                cases.shuffle(&mut random);
                cases
            }
            Wanted::Sample => {
                // SIGKILL at every boundary of one scenario, and some of
                // everything.
                let kills = known["orders"].places(Way::Forward, Fault::Kill);
                let mut cases: Vec<Case> = kills
                    .into_iter()
                    .map(|place| {
                        case(
                            &mut random,
                            version,
                            "orders",
                            Way::Forward,
                            Fault::Kill,
                            place,
                        )
                    })
                    .collect();
                cases.extend((0..8).map(|_| kill(&mut random)));
                for fault in Fault::ALL {
                    let count = if fault.is_slow() { 1 } else { 2 };
                    cases.extend((0..count).map(|_| of(known, &mut random, version, fault)));
                }
                // The slow ones first: another lane works meanwhile.
                cases.sort_by_key(|case| !case.fault.is_slow());
                cases
            }
        }
    }
}

/// A case of the whole matrix.
pub(crate) fn any(
    known: &BTreeMap<String, Arc<Reference>>,
    random: &mut StdRng,
    version: u32,
) -> Case {
    // What takes ten times as long is drawn less often.
    let fault = Fault::ALL
        .choose_weighted(random, |fault| if fault.is_slow() { 1 } else { 6 })
        .expect("there are faults");
    of(known, random, version, *fault)
}

/// A case of one fault.
fn of(
    known: &BTreeMap<String, Arc<Reference>>,
    random: &mut StdRng,
    version: u32,
    fault: Fault,
) -> Case {
    let (scenario, mut way) = subject(known, random);
    if fault == Fault::DiskData {
        // Nothing is written on the way back.
        way = Way::Forward;
    }
    let places = known[scenario].places(way, fault);
    let place = places.choose(random).expect("there are places").clone();
    case(random, version, scenario, way, fault, place)
}

fn subject<'a>(known: &'a BTreeMap<String, Arc<Reference>>, random: &mut StdRng) -> (&'a str, Way) {
    let names: Vec<&String> = known.keys().collect();
    let way = if random.random_ratio(1, 5) {
        Way::Back
    } else {
        Way::Forward
    };
    (names.choose(random).expect("there are scenarios"), way)
}

/// The case with this much given; traffic and seed are drawn.
fn case(
    random: &mut StdRng,
    version: u32,
    scenario: &str,
    way: Way,
    fault: Fault,
    place: Place,
) -> Case {
    Case {
        version,
        scenario: scenario.to_owned(),
        way,
        fault,
        place,
        traffic: match random.random_range(0..10) {
            0..2 => Traffic::Quiet,
            2..9 => Traffic::Mixed,
            _ => Traffic::Hot,
        },
        seed: random.random_range(0..1_000_000),
    }
}

impl fmt::Display for Draw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "faults: {:?}, seed {}, {} lanes",
            self.wanted, self.seed, self.lanes
        )
    }
}

/// The scenarios that a part of a case's name names.
fn named(text: &str) -> Vec<String> {
    let parts: Vec<&str> = text.split('/').collect();
    scenario::all()
        .into_iter()
        .filter(|scenario| parts.contains(&scenario.name))
        .map(|scenario| scenario.name.to_owned())
        .collect()
}

fn wanted(text: &str) -> Wanted {
    let count = |text: &str| {
        text.parse()
            .unwrap_or_else(|_| panic!("PONTOON_FAULTS: `{text}` is no number"))
    };
    match text.split_once('=') {
        None if text == "all" => Wanted::All,
        Some(("kills", text)) => Wanted::Kills(count(text)),
        Some(("random", text)) => Wanted::Random(count(text)),
        Some(("of", texts)) => Wanted::Of(texts.split(',').map(str::to_owned).collect()),
        _ => Wanted::These(
            text.split_whitespace()
                .map(|name| name.parse().unwrap_or_else(|error| panic!("{error}")))
                .collect(),
        ),
    }
}

/// One and a half for each processor: cases wait more than they compute.
fn lanes() -> usize {
    std::thread::available_parallelism().map_or(2, |count| count.get() * 3 / 2)
}

/// `90s`, `20m`, `1h`.
pub(crate) fn duration(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.len().saturating_sub(1));
    let number: u64 = number
        .parse()
        .unwrap_or_else(|_| panic!("expected a duration such as 90s, 20m or 1h, found `{text}`"));
    match unit {
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number * 60),
        "h" => Duration::from_secs(number * 3600),
        _ => panic!("expected a duration such as 90s, 20m or 1h, found `{text}`"),
    }
}
