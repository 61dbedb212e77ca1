//! A folder of plans against what a database knows of them: which of them are
//! to be run, in which order, and what speaks against it.
//!
//! A plan's place in a folder is its *version*, a number of any length: file
//! names order nothing. A database has one order of versions. What has
//! happened to a version there is told by its runs: one that was rolled back
//! leaves no trace, so its version is pending again; of the others there is
//! at most one that counts.
//!
//! [`survey`] compares both sides and decides nothing else: it is pure, and
//! what may be passed by force is up to whoever asks
//! ([`Problem::yields_to_force`]).

use std::cmp::Ordering;

use serde_json::Value;

use super::{Plan, describe_change, operations_hash, operations_json};

/// A plan of the folder.
#[derive(Clone, Debug, PartialEq)]
pub struct FolderPlan {
    /// Where it was read, for messages.
    pub file: String,
    /// Its name.
    pub plan: String,
    /// Its version, as it is written.
    pub version: String,
    /// [`operations_json`].
    pub operations: Value,
    /// [`operations_hash`].
    pub operations_hash: String,
}

impl FolderPlan {
    /// What of a plan in this file counts.
    pub fn new(file: impl Into<String>, plan: &Plan) -> Self {
        Self {
            file: file.into(),
            plan: plan.plan.clone(),
            version: plan.version.clone(),
            operations: operations_json(plan),
            operations_hash: operations_hash(plan),
        }
    }
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was completed.
    Applied,
    /// It has begun, and goes on when it is run.
    Unfinished,
    /// It is on its way back.
    GoingBack,
    /// It was taken back: its plan may be run again, changed or not.
    RolledBack,
}

/// A run that the database remembers.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownRun {
    /// Its id.
    pub run: String,
    /// The plan's name.
    pub plan: String,
    /// The plan's version.
    pub version: String,
    /// How far it has come.
    pub fate: Fate,
    /// The same in people's words: `waiting at contract`.
    pub state: String,
    /// When it was completed, RFC 3339.
    pub applied_at: Option<String>,
    /// [`operations_json`] of the plan that it was made of.
    pub operations: Value,
    /// [`operations_hash`] of the same.
    pub operations_hash: String,
}

/// What has become of a plan. Numbers are places in the list of known runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// This run has completed it.
    Applied(usize),
    /// This run of it has begun.
    Unfinished(usize),
    /// This run of it is being taken back.
    GoingBack(usize),
    /// It has not begun, or it has been taken back, last by this run.
    Pending(Option<usize>),
}

/// A plan and its standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the list of plans.
    pub plan: usize,
    /// What has become of it.
    pub standing: Standing,
    /// It is to be run: unfinished or pending, and not above the last version
    /// that is wanted.
    pub due: bool,
}

impl Survey {
    /// What has become of a plan of the folder.
    pub fn standing(&self, plan: usize) -> Standing {
        let entry = self.entries.iter().find(|entry| entry.plan == plan);
        entry.map_or(Standing::Pending(None), |entry| entry.standing)
    }
}

/// What speaks against running a folder. Numbers are places in the lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Two files have one version: nothing says which comes first.
    SameVersion {
        /// The file whose name comes first.
        first: usize,
        /// The other one.
        second: usize,
    },
    /// The version has begun or was applied, from other content.
    Changed {
        /// The plan as it is now.
        plan: usize,
        /// The run that was made of it as it was.
        run: usize,
        /// What is different, one fragment each; never empty.
        changes: Vec<String>,
    },
    /// The plan is being taken back, which has to end first.
    GoingBack {
        /// The plan.
        plan: usize,
        /// Its run.
        run: usize,
    },
    /// A pending version is below one that has begun.
    OutOfOrder {
        /// The pending plan.
        plan: usize,
        /// The run with the highest version that is not taken back.
        after: usize,
    },
    /// A run of a lower version is unfinished, and its plan is not in the
    /// folder.
    Stranger {
        /// That run.
        run: usize,
        /// The first pending plan above it.
        before: usize,
    },
}

impl Problem {
    /// May a person who knows better pass it? Whatever would make the history
    /// a lie, or leave work half done, stays.
    pub fn yields_to_force(&self) -> bool {
        match self {
            Problem::OutOfOrder { .. } | Problem::Stranger { .. } => true,
            Problem::SameVersion { .. } | Problem::Changed { .. } | Problem::GoingBack { .. } => {
                false
            }
        }
    }
}

/// A folder as it stands to a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Every plan, lowest version first.
    pub entries: Vec<Entry>,
    /// What speaks against running what is due, in the order of versions.
    pub problems: Vec<Problem>,
    /// Completed runs whose version no file has.
    pub elsewhere: Vec<usize>,
}

/// The digits of a version that count.
pub fn version_digits(version: &str) -> &str {
    version.trim_start_matches('0')
}

/// The order of two versions: that of their values, whatever their leading
/// zeros. Both consist of digits.
pub fn compare_versions(one: &str, other: &str) -> Ordering {
    let (one, other) = (version_digits(one), version_digits(other));
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

/// How the plans of a folder stand to the runs that a database knows, newest
/// first. With `last`, plans above that version are not due.
pub fn survey(plans: &[FolderPlan], known: &[KnownRun], last: Option<&str>) -> Survey {
    let mut order: Vec<usize> = (0..plans.len()).collect();
    order.sort_by(|one, other| {
        let (one, other) = (&plans[*one], &plans[*other]);
        compare_versions(&one.version, &other.version).then_with(|| one.file.cmp(&other.file))
    });
    let entries: Vec<Entry> = order
        .iter()
        .map(|&plan| {
            let standing = standing(&plans[plan], known);
            let is_open = matches!(standing, Standing::Unfinished(_) | Standing::Pending(_));
            let is_wanted = last.is_none_or(|last| {
                compare_versions(&plans[plan].version, last) != Ordering::Greater
            });
            Entry {
                plan,
                standing,
                due: is_open && is_wanted,
            }
        })
        .collect();
    let same = |version: &str, other: &str| compare_versions(version, other) == Ordering::Equal;
    let is_here = |run: &KnownRun| plans.iter().any(|plan| same(&plan.version, &run.version));

    let mut problems = Vec::new();
    for pair in order.windows(2) {
        let (first, second) = (pair[0], pair[1]);
        if same(&plans[first].version, &plans[second].version) {
            problems.push(Problem::SameVersion { first, second });
        }
    }
    for entry in &entries {
        problems.extend(problem(entry, plans, known));
    }
    for (run, stranger) in known.iter().enumerate() {
        let is_open = match stranger.fate {
            Fate::Unfinished | Fate::GoingBack => true,
            Fate::Applied | Fate::RolledBack => false,
        };
        if !is_open || is_here(stranger) {
            continue;
        }
        let above = entries.iter().find(|entry| {
            entry.due
                && matches!(entry.standing, Standing::Pending(_))
                && compare_versions(&plans[entry.plan].version, &stranger.version)
                    == Ordering::Greater
        });
        if let Some(entry) = above {
            let before = entry.plan;
            problems.push(Problem::Stranger { run, before });
        }
    }
    let elsewhere = known
        .iter()
        .enumerate()
        .filter(|(_, run)| run.fate == Fate::Applied && !is_here(run))
        .map(|(index, _)| index)
        .collect();
    Survey {
        entries,
        problems,
        elsewhere,
    }
}

/// What has become of one plan.
fn standing(plan: &FolderPlan, known: &[KnownRun]) -> Standing {
    let runs = || {
        known
            .iter()
            .enumerate()
            .filter(|(_, run)| compare_versions(&run.version, &plan.version) == Ordering::Equal)
    };
    // A version that was run from two files is judged by its own name first.
    let counts = runs()
        .filter(|(_, run)| run.fate != Fate::RolledBack)
        .min_by_key(|(_, run)| run.plan != plan.plan);
    match counts {
        Some((index, run)) => match run.fate {
            Fate::Applied => Standing::Applied(index),
            Fate::Unfinished => Standing::Unfinished(index),
            Fate::GoingBack | Fate::RolledBack => Standing::GoingBack(index),
        },
        None => {
            let taken_back = runs().find(|(_, run)| run.plan == plan.plan);
            Standing::Pending(taken_back.map(|(index, _)| index))
        }
    }
}

/// What speaks against one plan.
fn problem(entry: &Entry, plans: &[FolderPlan], known: &[KnownRun]) -> Option<Problem> {
    let plan = &plans[entry.plan];
    match entry.standing {
        Standing::Applied(run) | Standing::Unfinished(run) => {
            let changes = changes(plan, &known[run]);
            (!changes.is_empty()).then_some(Problem::Changed {
                plan: entry.plan,
                run,
                changes,
            })
        }
        Standing::GoingBack(run) => Some(Problem::GoingBack {
            plan: entry.plan,
            run,
        }),
        Standing::Pending(_) if entry.due => known
            .iter()
            .enumerate()
            .filter(|(_, run)| run.fate != Fate::RolledBack)
            .max_by(|(_, one), (_, other)| compare_versions(&one.version, &other.version))
            .filter(|(_, run)| compare_versions(&run.version, &plan.version) == Ordering::Greater)
            .map(|(after, _)| Problem::OutOfOrder {
                plan: entry.plan,
                after,
            }),
        Standing::Pending(_) => None,
    }
}

/// What is different between a plan and what a run was made of.
fn changes(plan: &FolderPlan, run: &KnownRun) -> Vec<String> {
    let mut changes = Vec::new();
    if run.plan != plan.plan {
        changes.push(format!("plan was {}, is now {}", run.plan, plan.plan));
    }
    if run.operations_hash != plan.operations_hash {
        let described = describe_change(&run.operations, &plan.operations);
        match described.is_empty() {
            true => changes.push("its operations are other ones".to_owned()),
            false => changes.extend(described),
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// `3 orders` or `3 orders/text`: version, name, and the type that tells
    /// one content from another.
    fn plan(text: &str) -> Plan {
        let (version, name) = text.split_once(' ').expect("a version and a name");
        let (name, to) = name.split_once('/').unwrap_or((name, "numeric"));
        let text = format!(
            "plan: {name}\nversion: \"{version}\"\noperations:\n  - change_type: {{table: t, column: c, to: {to}}}\n"
        );
        super::super::load("p.yaml", &text).expect("a good plan")
    }

    fn plans(texts: &str) -> Vec<FolderPlan> {
        list(texts)
            .map(|text| FolderPlan::new(format!("{}.yaml", text.replace(' ', "_")), &plan(text)))
            .collect()
    }

    /// `3 orders applied`, newest first.
    fn known(texts: &str) -> Vec<KnownRun> {
        list(texts)
            .enumerate()
            .map(|(index, text)| {
                let (made_of, fate) = text.rsplit_once(' ').expect("a fate");
                let plan = plan(made_of);
                KnownRun {
                    run: index.to_string(),
                    plan: plan.plan.clone(),
                    version: plan.version.clone(),
                    fate: match fate {
                        "applied" => Fate::Applied,
                        "unfinished" => Fate::Unfinished,
                        "going_back" => Fate::GoingBack,
                        "rolled_back" => Fate::RolledBack,
                        other => panic!("{other}"),
                    },
                    state: fate.to_owned(),
                    applied_at: None,
                    operations: operations_json(&plan),
                    operations_hash: operations_hash(&plan),
                }
            })
            .collect()
    }

    fn list(texts: &str) -> impl Iterator<Item = &str> {
        texts
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
    }

    /// The survey in few words: `1 applied, 2 due`, then its problems.
    fn told(plans: &[FolderPlan], known: &[KnownRun], last: Option<&str>) -> (String, String) {
        let survey = survey(plans, known, last);
        let entries: Vec<String> = survey
            .entries
            .iter()
            .map(|entry| {
                let what = match (entry.standing, entry.due) {
                    (Standing::Applied(_), false) => "applied",
                    (Standing::Unfinished(_), true) => "resumed",
                    (Standing::Unfinished(_), false) => "left unfinished",
                    (Standing::GoingBack(_), false) => "going back",
                    (Standing::Pending(None), true) => "due",
                    (Standing::Pending(Some(_)), true) => "due again",
                    (Standing::Pending(_), false) => "left",
                    (Standing::Applied(_) | Standing::GoingBack(_), true) => "wrongly due",
                };
                format!("{} {what}", plans[entry.plan].version)
            })
            .collect();
        let version = |run: usize| &known[run].version;
        let problems: Vec<String> = survey
            .problems
            .iter()
            .map(|problem| match problem {
                Problem::SameVersion { first, second } => {
                    format!("{} = {}", plans[*first].file, plans[*second].file)
                }
                Problem::Changed { plan, run, changes } => format!(
                    "{} is not {}: {}",
                    plans[*plan].version,
                    version(*run),
                    changes.join(" + ")
                ),
                Problem::GoingBack { plan, .. } => format!("{} goes back", plans[*plan].version),
                Problem::OutOfOrder { plan, after } => {
                    format!("{} < {}", plans[*plan].version, version(*after))
                }
                Problem::Stranger { run, before } => {
                    format!("{} before {}", version(*run), plans[*before].version)
                }
            })
            .collect();
        (entries.join(", "), problems.join("; "))
    }

    #[rstest]
    #[case::nothing("", "", "", "")]
    #[case::an_empty_database("2 b, 1 a", "", "1 due, 2 due", "")]
    #[case::by_value_not_by_text("10 b, 9 a", "", "9 due, 10 due", "")]
    #[case::longer_than_any_integer(
        "100000000000000000000000000000000000000001 b, 100000000000000000000000000000000000000000 a",
        "",
        "100000000000000000000000000000000000000000 due, 100000000000000000000000000000000000000001 due",
        ""
    )]
    #[case::all_applied("1 a, 2 b", "2 b applied, 1 a applied", "1 applied, 2 applied", "")]
    #[case::a_new_one(
        "1 a, 2 b, 3 c",
        "2 b applied, 1 a applied",
        "1 applied, 2 applied, 3 due",
        ""
    )]
    #[case::unfinished_first("1 a, 2 b", "1 a unfinished", "1 resumed, 2 due", "")]
    #[case::begun_all_at_once(
        "1 a, 2 b",
        "2 b unfinished, 1 a unfinished",
        "1 resumed, 2 resumed",
        ""
    )]
    #[case::taken_back("1 a, 2 b", "1 a rolled_back", "1 due again, 2 due", "")]
    #[case::taken_back_and_changed("1 a/text", "1 a rolled_back", "1 due again", "")]
    #[case::taken_back_and_applied(
        "1 a",
        "1 a applied, 1 a rolled_back, 1 a rolled_back",
        "1 applied",
        ""
    )]
    #[case::taken_back_by_another_name("1 a", "1 b rolled_back", "1 due", "")]
    #[case::one_name_twice("1 a, 2 a", "1 a applied", "1 applied, 2 due", "")]
    #[case::run_from_two_files("1 a", "1 b applied, 1 a applied", "1 applied", "")]
    #[case::not_in_the_folder("3 c", "1 a applied", "3 due", "")]
    #[case::changed_after_it_was_applied(
        "1 a/text, 2 b",
        "1 a applied",
        "1 applied, 2 due",
        "1 is not 1: operation 1 (change_type t.c): to was numeric, is now text"
    )]
    #[case::changed_in_the_middle(
        "1 a/text",
        "1 a unfinished",
        "1 resumed",
        "1 is not 1: operation 1 (change_type t.c): to was numeric, is now text"
    )]
    #[case::renamed("1 b", "1 a applied", "1 applied", "1 is not 1: plan was a, is now b")]
    #[case::written_otherwise(
        "001 a",
        "1 a applied",
        "001 applied",
        "001 is not 1: version was 1, is now 001"
    )]
    #[case::a_version_twice("1 a, 1 b", "", "1 due, 1 due", "1_a.yaml = 1_b.yaml")]
    #[case::a_version_twice_in_other_digits(
        "01 a, 1 b",
        "",
        "01 due, 1 due",
        "01_a.yaml = 1_b.yaml"
    )]
    #[case::out_of_order(
        "1 a, 2 b, 3 c, 4 d",
        "3 c applied, 1 a applied",
        "1 applied, 2 due, 3 applied, 4 due",
        "2 < 3"
    )]
    #[case::several_out_of_order(
        "1 a, 2 b, 3 c, 9 d",
        "9 d applied, 3 c applied",
        "1 due, 2 due, 3 applied, 9 applied",
        "1 < 9; 2 < 9"
    )]
    #[case::below_one_that_has_begun("1 a, 2 b", "2 b unfinished", "1 due, 2 resumed", "1 < 2")]
    #[case::below_one_that_is_not_here("1 a", "2 b applied", "1 due", "1 < 2")]
    #[case::below_one_that_was_taken_back("1 a", "2 b rolled_back", "1 due", "")]
    #[case::unfinished_is_not_out_of_order(
        "1 a, 2 b",
        "2 b applied, 1 a unfinished",
        "1 resumed, 2 applied",
        ""
    )]
    #[case::going_back("1 a, 2 b", "1 a going_back", "1 going back, 2 due", "1 goes back")]
    #[case::a_stranger_before("2 b, 3 c", "1 a unfinished", "2 due, 3 due", "1 before 2")]
    #[case::a_stranger_goes_back("2 b", "1 a going_back", "2 due", "1 before 2")]
    #[case::a_stranger_and_nothing_to_do("2 b", "2 b applied, 1 a unfinished", "2 applied", "")]
    fn surveys(
        #[case] folder: &str,
        #[case] database: &str,
        #[case] entries: &str,
        #[case] problems: &str,
    ) {
        let found = told(&plans(folder), &known(database), None);
        assert_eq!(found, (entries.to_owned(), problems.to_owned()));
    }

    #[rstest]
    #[case::below_all("1 a, 2 b", "", "0", "1 left, 2 left", "")]
    #[case::in_the_middle("1 a, 2 b, 3 c", "1 a applied", "2", "1 applied, 2 due, 3 left", "")]
    #[case::in_other_digits("1 a, 2 b", "", "0001", "1 due, 2 left", "")]
    #[case::what_has_begun_above(
        "1 a, 2 b",
        "2 b unfinished, 1 a applied",
        "1",
        "1 applied, 2 left unfinished",
        ""
    )]
    #[case::no_order_is_asked_of_what_is_left("2 b", "3 c applied", "1", "2 left", "")]
    fn surveys_up_to_a_version(
        #[case] folder: &str,
        #[case] database: &str,
        #[case] last: &str,
        #[case] entries: &str,
        #[case] problems: &str,
    ) {
        let found = told(&plans(folder), &known(database), Some(last));
        assert_eq!(found, (entries.to_owned(), problems.to_owned()));
    }

    #[test]
    fn what_was_applied_elsewhere_is_listed() {
        let found = survey(
            &plans("2 b"),
            &known("3 c rolled_back, 2 b applied, 1 a applied"),
            None,
        );
        assert_eq!(found.elsewhere, [2]);
    }

    #[test]
    fn neither_order_of_the_lists_matters() {
        let (here, there) = ("3 c, 1 a, 4 d, 2 b", "1 a applied, 3 c applied");
        let expected = told(&plans(here), &known(there), None);
        let found = told(
            &plans("1 a, 2 b, 3 c, 4 d"),
            &known("3 c applied, 1 a applied"),
            None,
        );
        assert_eq!(found, expected);
    }

    #[test]
    fn force_passes_order_and_nothing_else() {
        let found = survey(
            &plans("1 a, 1 b, 2 x/text, 3 c, 4 d, 7 e"),
            &known("9 z applied, 6 y unfinished, 4 d going_back, 2 x applied"),
            None,
        );
        let (forced, stays): (Vec<_>, Vec<_>) = found
            .problems
            .iter()
            .partition(|problem| problem.yields_to_force());
        assert_eq!((forced.len(), stays.len()), (5, 3), "{found:?}");
    }
}
