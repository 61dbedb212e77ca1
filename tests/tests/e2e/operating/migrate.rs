//! Folders of plans: in which order they run, where they stop, what is
//! refused, and what is done again after a crash.

use pontoon_sandbox::dump::{CatalogDump, DumpOptions};
use pontoon_tests::{rows_committed, wait_for_silence};
use serde_json::Value;

use crate::scene::{Scene, wait_until};

const ROWS: i64 = 400;
const TABLES: &str = "
    CREATE TABLE items (id integer PRIMARY KEY, amount integer NOT NULL, note text);
    INSERT INTO items SELECT g, g FROM generate_series(1, 400) g;
    CREATE TABLE parts (id integer PRIMARY KEY, name text NOT NULL);
    INSERT INTO parts SELECT g, 'Part ' || g FROM generate_series(1, 400) g;
    ANALYZE items, parts";

/// `items.amount` in a second shape.
const FIRST: &str = "{change_type: {table: items, column: amount, to: numeric, as: exact}}";
/// `parts.name` beside itself.
const SECOND: &str =
    "{add_column: {table: parts, column: {name: slug, type: text}, up: lower(name)}}";
/// Needs what the first has made.
const THIRD: &str = "{add_check: {table: items, name: items_exact_check, check: exact > 0}}";

/// A folder in front of a database.
struct Desk(Scene);

impl Desk {
    async fn new(version: u32) -> Self {
        Self(Scene::new(version, TABLES).await)
    }

    /// Writes `plans/FILE.yaml`; without a gate, unless `keys` has some.
    fn plan(&self, file: &str, version: &str, name: &str, keys: &str, operation: &str) {
        let gates = if keys.contains("gates:") {
            ""
        } else {
            "gates: []\n"
        };
        let text = format!(
            "plan: {name}\nversion: {version}\n{gates}{keys}\noperations:\n  - {operation}\n"
        );
        self.0.pontoon.file(&format!("plans/{file}.yaml"), &text);
    }

    /// Nothing of ours may be left but the schema `pontoon`.
    async fn end(self) {
        self.0.clean().await;
        self.0.end().await;
    }

    fn forget(&self, file: &str) {
        let path = self.0.pontoon.file(&format!("plans/{file}.yaml"), "");
        std::fs::remove_file(path).expect("it was there");
    }

    /// `pontoon migrate plans …`, and everything that it said.
    #[track_caller]
    fn migrate(&self, more: &[&str], code: i32) -> impl Future<Output = String> {
        let arguments: Vec<String> = ["migrate", "plans"]
            .iter()
            .chain(more)
            .map(|word| (*word).to_owned())
            .collect();
        async move {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let ended = self.0.pontoon.call(&arguments).await.expect(code);
            ended.said()
        }
    }

    /// What the database knows, oldest first: `1 a completed`.
    async fn history(&self) -> Vec<String> {
        let history = self.0.pontoon.call(&["history", "--output", "json"]);
        let history = history.await.expect(0).json();
        let runs = history["runs"].as_array().expect("a list");
        let word = |run: &Value, key: &str| run[key].as_str().unwrap_or_default().to_owned();
        runs.iter()
            .rev()
            .map(|run| {
                format!(
                    "{} {} {}",
                    word(run, "version"),
                    word(run, "plan"),
                    word(run, "state")
                )
            })
            .collect()
    }

    async fn dump(&self) -> CatalogDump {
        CatalogDump::take(&self.0.client, &DumpOptions::default())
            .await
            .expect("a dump")
    }
}

#[track_caller]
fn assert_says(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "`{word}` is not in:\n{said}");
    }
}

/// Versions order the plans, by value; a second time there is nothing to do;
/// a later plan may stand on an earlier one. A dry run changes nothing, not
/// even where Pontoon has never been.
#[tokio::test(flavor = "multi_thread")]
async fn runs_a_folder_in_the_order_of_its_versions() {
    for version in crate::versions() {
        let desk = Desk::new(version).await;
        desk.plan("a_last", "10", "tighten", "issue: OPS-7", THIRD);
        desk.plan("b_first", "8", "amounts", "", FIRST);
        desk.plan("c_second", "9", "slugs", "", SECOND);
        desk.0.pontoon.file("plans/README.md", "no plan");
        desk.0.pontoon.file("plans/.draft.yaml", "no: plan");
        desk.0
            .pontoon
            .file("plans/pontoon.yaml", "ceilings: {max_batch_rows: 10000}");
        desk.0.pontoon.file("plans/old/1.yaml", "not looked into");

        let before = desk.dump().await;
        let said = desk.migrate(&["--dry-run"], 0).await;
        assert_says(
            &said,
            &[
                "VERSION",
                "OPS-7",
                "Plan 1 of 3: version 8, amounts (plans/b_first.yaml).",
                "add column public.items.exact",
                "Plan 3 of 3: version 10, tighten (plans/a_last.yaml). It cannot be shown before",
                "plans/old",
                "Nothing was changed.",
            ],
        );
        let dry = desk.0.pontoon.spawn(&["migrate", "plans", "--dry-run"]);
        let (ended, lines) = dry.wait().await;
        ended.expect(0);
        let events: Vec<&Value> = lines.iter().map(|line| &line["event"]).collect();
        assert_eq!(events, ["plans", "preview", "preview", "preview", "exit"]);
        assert_eq!(lines[0]["nested"], serde_json::json!(["plans/old"]));
        assert_eq!(lines[1]["preview"]["plan"], "amounts", "{}", lines[1]);
        let refused = &lines[3]["refused"];
        assert!(
            lines[3]["preview"].is_null() && refused["message"].is_string(),
            "{}",
            lines[3]
        );
        let differences = before.differences(&desk.dump().await);
        assert!(differences.is_empty(), "{differences:#?}");
        assert_eq!(desk.0.text("SELECT to_regnamespace('pontoon')").await, "∅");

        let said = desk.migrate(&[], 0).await;
        let places: Vec<Option<usize>> = [
            "Plan 1 of 3: version 8",
            "Plan 2 of 3: version 9",
            "Plan 3 of 3: version 10",
        ]
        .iter()
        .map(|title| said.find(title))
        .collect();
        assert!(places.is_sorted() && places[0].is_some(), "{said}");
        assert_says(&said, &["3 plans of plans are applied."]);
        let applied = [
            "8 amounts completed",
            "9 slugs completed",
            "10 tighten completed",
        ];
        assert_eq!(desk.history().await, applied);
        let wrong = "SELECT (SELECT count(*) FROM items WHERE exact IS DISTINCT FROM id)
                          + (SELECT count(*) FROM parts WHERE slug IS DISTINCT FROM lower(name))";
        assert_eq!(desk.0.text(wrong).await, "0");

        let said = desk.migrate(&[], 0).await;
        assert_says(
            &said,
            &["There is nothing to do: all 3 plans in plans are applied."],
        );
        desk.migrate(&["--dry-run"], 0).await;
        assert_eq!(desk.history().await, applied);

        let table = desk.0.pontoon.call(&["history"]).await.expect(0).stdout;
        let lines: Vec<&str> = table.lines().collect();
        assert!(
            lines[0].starts_with("VERSION  PLAN")
                && lines[0].ends_with("ISSUE  STATUS     APPLIED AT"),
            "{table}"
        );
        assert!(
            lines[1].starts_with("10       tighten  OPS-7  completed  20"),
            "{table}"
        );
        assert_eq!(
            lines[4],
            format!(
                "3 runs: 3 completed, 0 unfinished, 0 rolled back; {} rows changed.",
                2 * ROWS
            )
        );
        let totals = desk
            .0
            .pontoon
            .call(&["history", "--output", "json"])
            .await
            .json()["totals"]
            .clone();
        assert_eq!(totals["completed"], 3, "{totals}");
        desk.end().await;
    }
}

/// A plan that stands at its gate keeps the later ones from beginning; with
/// `--until` all are brought that far, and with `--approve` to their ends.
#[tokio::test(flavor = "multi_thread")]
async fn stops_at_gates_and_brings_a_folder_to_one() {
    for version in crate::versions() {
        let desk = Desk::new(version).await;
        let gated = "gates: [{before: contract, message: app 4.2 everywhere}]";
        desk.plan("1", "1", "amounts", gated, FIRST);
        desk.plan(
            "2",
            "2",
            "slugs",
            gated,
            SECOND
                .replace("type: text}", "type: text, nullable: false}")
                .as_str(),
        );
        let said = desk.migrate(&["--url", desk.0.pontoon.url()], 5).await;
        assert_says(
            &said,
            &[
                "app 4.2 everywhere",
                "pontoon approve",
                "  pontoon migrate plans --url",
                "Version 2 (slugs) comes after it and has to wait.",
            ],
        );
        assert_eq!(desk.history().await, ["1 amounts waiting"]);
        assert_says(
            &desk.migrate(&["--dry-run"], 0).await,
            &["waiting at contract, and goes on."],
        );

        // Expand everything.
        let said = desk.migrate(&["--until", "contract"], 0).await;
        assert_says(
            &said,
            &["Of 2 plans, 0 are applied; the others stand where --until asked."],
        );
        assert_eq!(desk.history().await, ["1 amounts paused", "2 slugs paused"]);
        let filled = "SELECT (SELECT count(exact) FROM items) + (SELECT count(slug) FROM parts)";
        assert_eq!(desk.0.text(filled).await, (2 * ROWS).to_string());
        // It stands there again, and takes nothing for approval.
        desk.migrate(&["--until", "contract"], 0).await;
        desk.migrate(&["--approve", "verify"], 2).await;

        // Contract everything.
        let said = desk.migrate(&["--approve", "contract"], 0).await;
        assert_says(&said, &["2 plans of plans are applied."]);
        assert_eq!(
            desk.history().await,
            ["1 amounts completed", "2 slugs completed"]
        );

        // As JSON: what stands there, each plan, and one last line.
        desk.plan("3", "3", "third", gated, THIRD);
        let (ended, records) = desk.0.pontoon.spawn(&["migrate", "plans"]).wait().await;
        ended.expect(5);
        assert_eq!(records[0]["event"], "plans", "{records:?}");
        let plans = records[0]["plans"].as_array().expect("a list");
        let standing: Vec<&Value> = plans.iter().map(|plan| &plan["standing"]).collect();
        assert_eq!(standing, ["applied", "applied", "pending"]);
        assert!(plans[0]["applied_at"].is_string() && plans[2]["due"] == true);
        let plan = records
            .iter()
            .find(|record| record["event"] == "plan")
            .expect("a plan");
        assert_eq!(
            (&plan["no"], &plan["of"], &plan["version"]),
            (&1.into(), &1.into(), &"3".into())
        );
        let exits: Vec<&Value> = records
            .iter()
            .filter(|record| record["event"] == "exit")
            .collect();
        assert_eq!(exits, [records.last().expect("a line")]);
        assert_eq!(
            (&exits[0]["code"], &exits[0]["state"]),
            (&5.into(), &"waiting".into())
        );
        desk.0.pontoon.call(&["rollback", "--all"]).await.expect(0);
        desk.end().await;
    }
}

/// SIGKILL at one place after another of the second of three plans, and
/// between two plans: the same command goes on, nothing is done twice.
#[tokio::test(flavor = "multi_thread")]
async fn goes_on_after_a_kill_in_the_middle_of_a_folder() {
    for version in crate::versions() {
        let desk = Desk::new(version).await;
        desk.plan("1", "1", "amounts", "", FIRST);
        desk.plan(
            "2",
            "2",
            "slugs",
            "limits: {max_batch_rows: 20}\nbackfill: {target_batch_time: 1s}",
            SECOND,
        );
        desk.plan("3", "3", "tighten", "", THIRD);
        for (place, begun) in [
            ("lease.release@1", "1 amounts completed"),
            ("run.absent@2", "1 amounts completed"),
            ("run.created@2", "2 slugs pending"),
            ("step.1.end@2", "2 slugs running"),
            ("batch.end@9", "2 slugs running"),
            ("run.absent@3", "2 slugs completed"),
        ] {
            let failpoint = format!("kill:{place}");
            let killed = desk
                .0
                .pontoon
                .call_with(&["migrate", "plans"], &[("PONTOON_FAILPOINT", &failpoint)])
                .await;
            assert_eq!(killed.signal, Some(9), "{place}: {}", killed.said());
            wait_for_silence(&desk.0.client).await;
            let history = desk.history().await;
            assert_eq!(history.last().map(String::as_str), Some(begun), "{place}");
            let rows = rows_committed(&desk.0.client).await;

            let said = desk.migrate(&[], 0).await;
            let applied = [
                "1 amounts completed",
                "2 slugs completed",
                "3 tighten completed",
            ];
            assert_eq!(desk.history().await, applied, "{place}");
            let all = rows_committed(&desk.0.client).await;
            assert_eq!(
                all,
                2 * ROWS,
                "{place}: {rows} rows were committed before\n{said}"
            );
            if place.starts_with("batch") {
                assert!(rows > ROWS && rows < all, "{place}: {rows}");
            }
            let wrong = "SELECT (SELECT count(*) FROM items WHERE exact IS DISTINCT FROM id)
                              + (SELECT count(*) FROM parts WHERE slug IS DISTINCT FROM lower(name))";
            assert_eq!(desk.0.text(wrong).await, "0", "{place}");
            desk.0.clean().await;
            desk.0
                .sql(&format!(
                    "DROP TABLE items, parts; DROP SCHEMA pontoon CASCADE; {TABLES}"
                ))
                .await;
        }
        desk.0.end().await;
    }
}

/// What is not as it was when it was applied, and what has no order.
#[tokio::test(flavor = "multi_thread")]
async fn refuses_what_would_make_the_history_a_lie() {
    for version in crate::versions() {
        let desk = Desk::new(version).await;
        desk.plan("b", "20", "amounts", "", FIRST);
        desk.migrate(&[], 0).await;
        let before = desk.dump().await;

        // Changed since: named with both contents, and --force does not help.
        desk.plan(
            "b",
            "20",
            "amounts",
            "",
            &FIRST.replace("numeric", "bigint"),
        );
        desk.plan("c", "30", "slugs", "", SECOND);
        for force in [&[][..], &["--force"], &["--dry-run"]] {
            let said = desk.migrate(force, 3).await;
            assert_says(
                &said,
                &[
                    "plans/b.yaml is not what version 20 was applied from",
                    "Operation 1 (change_type items.amount): to was numeric, is now bigint.",
                ],
            );
        }
        desk.plan("b", "20", "sums", "", FIRST);
        assert_says(
            &desk.migrate(&[], 3).await,
            &["Plan was amounts, is now sums."],
        );
        // Limits and gates may change.
        desk.plan("b", "20", "amounts", "limits: {max_batch_rows: 7}", FIRST);
        desk.plan("d", "030", "again", "", THIRD);
        assert_says(
            &desk.migrate(&[], 3).await,
            &[
                "plans/c.yaml (slugs)",
                "plans/d.yaml (again)",
                "the same version",
            ],
        );
        let check = desk.0.pontoon.call(&["check", "plans"]).await.expect(3);
        assert_says(&check.said(), &["another plan of this folder has version"]);

        // Out of order: named, and run by force.
        desk.plan("d", "10", "again", "", THIRD);
        let said = desk.migrate(&[], 4).await;
        assert_says(
            &said,
            &[
                "plans/d.yaml is out of order: its version 10 is below 20 (amounts), which was applied at 20",
                "pontoon migrate plans --force",
            ],
        );
        // All of it refused, also what is in order.
        assert_eq!(desk.history().await, ["20 amounts completed"]);
        let differences = before.differences(&desk.dump().await);
        assert!(differences.is_empty(), "{differences:#?}");
        assert_says(
            &desk.migrate(&["--force", "--dry-run"], 0).await,
            &["pending, out of order"],
        );
        desk.migrate(&["--force", "--to-version", "0020"], 0).await;
        assert_eq!(
            desk.history().await,
            ["20 amounts completed", "10 again completed"]
        );
        let said = desk.migrate(&["--to-version", "20"], 0).await;
        assert_says(&said, &["nothing to do; 1 plan above that version is left"]);
        let said = desk.migrate(&["--to-version", "25"], 2).await;
        assert_says(
            &said,
            &["No plan in plans has version 25.", "from 10 to 30"],
        );
        desk.migrate(&["--to-version", "x"], 2).await;
        desk.migrate(&[], 0).await;

        // A run of an earlier version whose plan is elsewhere.
        let other = desk.0.pontoon.file(
            "other.yaml",
            "plan: other\nversion: 40\noperations:\n  - {add_column: {table: parts, column: {name: big, type: bigint}, up: id}}\n",
        );
        let other = other.display().to_string();
        desk.0.pontoon.call(&["run", &other]).await.expect(5);
        desk.migrate(&[], 0).await;
        desk.plan(
            "e",
            "50",
            "notes",
            "",
            "{set_default: {table: items, column: note, default: \"''\"}}",
        );
        assert_says(
            &desk.migrate(&[], 4).await,
            &[
                "Version 40 (other, run ",
                "waiting at contract",
                "version 50 would overtake it",
            ],
        );
        desk.0.pontoon.call(&["rollback", "other"]).await.expect(0);
        desk.migrate(&[], 0).await;

        // No folder of plans.
        let call = async |folder: &str, code: i32| {
            let ended = desk.0.pontoon.call(&["migrate", folder]).await.expect(code);
            ended.said()
        };
        desk.0.pontoon.file("empty/pontoon.yaml", "{}");
        assert_says(&call("empty", 2).await, &["empty holds no plan."]);
        call("nowhere", 2).await;
        assert_says(
            &call("plans/b.yaml", 2).await,
            &["pontoon run plans/b.yaml"],
        );
        desk.0.pontoon.file("plans/z.yaml", "services: {}");
        desk.0.pontoon.file("plans/y.yaml", "- not a plan");
        assert_says(
            &call("plans", 3).await,
            &[
                "2 files in plans are not valid plans.",
                "plans/z.yaml",
                "plans/y.yaml",
            ],
        );
        desk.end().await;
    }
}

/// A plan that fails stops the others; mended or taken back, the same command
/// goes on, and what was taken back may be another plan by then.
#[tokio::test(flavor = "multi_thread")]
async fn goes_on_after_a_failure_and_after_a_rollback() {
    for version in crate::versions() {
        let desk = Desk::new(version).await;
        desk.plan("1", "1", "slugs", "", SECOND);
        desk.plan("2", "2", "inverse", "", "{add_column: {table: items, column: {name: inverse, type: integer}, up: 1000 / (amount - 7)}}");
        desk.plan(
            "3",
            "3",
            "notes",
            "",
            "{set_default: {table: items, column: note, default: \"''\"}}",
        );
        let said = desk.migrate(&[], 7).await;
        assert_says(
            &said,
            &[
                "Plan 2 of 3: version 2, inverse (plans/2.yaml).",
                "Version 3 (notes) comes after it and has to wait.",
                "Hint: pontoon migrate plans\n",
            ],
        );
        assert_eq!(
            desk.history().await,
            ["1 slugs completed", "2 inverse failed"]
        );
        // A begun plan may not change …
        desk.plan("2", "2", "inverse", "", "{add_column: {table: items, column: {name: inverse, type: integer}, up: 1000 / (amount + 1)}}");
        assert_says(
            &desk.migrate(&[], 3).await,
            &["is not what version 2 was begun from", "pontoon rollback"],
        );
        // … before it is taken back.
        desk.0.pontoon.call(&["rollback", "--yes"]).await.expect(0);
        assert_says(
            &desk.migrate(&["--dry-run"], 0).await,
            &["pending, was rolled back"],
        );
        let said = desk.migrate(&[], 0).await;
        assert_says(
            &said,
            &["Plan 1 of 2: version 2", "2 plans of plans are applied."],
        );
        assert_eq!(
            desk.history().await,
            [
                "1 slugs completed",
                "2 inverse rolled_back",
                "2 inverse completed",
                "3 notes completed"
            ]
        );
        // Files that have done their work may be taken away.
        desk.forget("1");
        desk.forget("2");
        desk.migrate(&[], 0).await;
        let said = desk.migrate(&["--dry-run"], 0).await;
        assert_says(
            &said,
            &["Applied, and not in this folder: 1 (slugs), 2 (inverse)."],
        );
        desk.0.end().await;
    }
}

/// Two at a time: the second one is told who holds the run. A signal ends
/// after the batch under way, and the same command goes on.
#[tokio::test(flavor = "multi_thread")]
async fn one_at_a_time_and_interrupted() {
    for version in crate::versions() {
        let desk = Desk::new(version).await;
        desk.plan(
            "1",
            "1",
            "notes",
            "",
            "{set_default: {table: items, column: note, default: \"''\"}}",
        );
        desk.plan(
            "2",
            "2",
            "slugs",
            "limits: {max_batch_rows: 20}\nbackfill: {target_batch_time: 1s}",
            SECOND,
        );
        let mut first = desk.0.pontoon.spawn_with(
            &["migrate", "plans"],
            &[("PONTOON_FAILPOINT", "stop:batch.end@3")],
        );
        assert!(first.stopped().await, "it stops in the second plan");
        let pid = first.pid().to_string();
        let said = desk.migrate(&[], 9).await;
        assert_says(&said, &[&pid, "Plan 1 of 1: version 2"]);

        first.signal(nix::sys::signal::Signal::SIGINT);
        first.signal(nix::sys::signal::Signal::SIGCONT);
        first.event("exit").await.expect("a last line");
        let (ended, records) = first.wait().await;
        ended.expect(6);
        assert_eq!(records.last().expect("a line")["code"], 6);
        assert_eq!(
            desk.history().await,
            ["1 notes completed", "2 slugs running"]
        );
        wait_until("nobody holds it", async || {
            desk.0.status().await["holder"].is_null()
        })
        .await;

        // Between two plans, too.
        desk.plan("3", "3", "amounts", "", FIRST);
        let between = desk.0.pontoon.spawn_with(
            &["migrate", "plans"],
            &[("PONTOON_FAILPOINT", "stop:lease.release")],
        );
        assert!(
            between.stopped().await,
            "it stops at the end of the second plan"
        );
        between.signal(nix::sys::signal::Signal::SIGTERM);
        between.signal(nix::sys::signal::Signal::SIGCONT);
        let (ended, _) = between.wait().await;
        assert_says(&ended.expect(6).said(), &["Interrupted between two plans."]);
        assert_eq!(
            desk.history().await,
            ["1 notes completed", "2 slugs completed"]
        );
        desk.migrate(&["--until", "expand"], 0).await;

        // Paused by an operator, it stays so.
        desk.0.pontoon.call(&["pause"]).await.expect(0);
        assert_says(&desk.migrate(&[], 11).await, &["pontoon resume"]);
        desk.0.pontoon.call(&["resume"]).await.expect(0);
        desk.migrate(&[], 0).await;
        desk.end().await;
    }
}

/// Four that begin at the same moment, on a database that Pontoon has never seen: whoever comes second is told so, and
/// each plan is run once.
#[tokio::test(flavor = "multi_thread")]
async fn several_at_the_same_moment() {
    for version in crate::versions() {
        let desk = Desk::new(version).await;
        desk.plan("1", "1", "amounts", "", FIRST);
        desk.plan("2", "2", "slugs", "limits: {max_batch_rows: 50}", SECOND);
        desk.plan("3", "3", "tighten", "", THIRD);
        let all = [(); 4].map(|()| desk.0.pontoon.spawn(&["migrate", "plans"]));
        let mut codes = Vec::new();
        for one in all {
            let (ended, _) = one.wait().await;
            assert!(matches!(ended.code, Some(0 | 9)), "{}", ended.said());
            codes.push(ended.code);
        }
        assert!(codes.contains(&Some(0)), "{codes:?}");
        let applied = [
            "1 amounts completed",
            "2 slugs completed",
            "3 tighten completed",
        ];
        assert_eq!(desk.history().await, applied);
        assert_eq!(rows_committed(&desk.0.client).await, 2 * ROWS);
        desk.end().await;
    }
}

/// Brought to one gate, two plans would meet on one table; a name has one run.
#[tokio::test(flavor = "multi_thread")]
async fn plans_that_would_harm_each_other_are_refused_before_they_begin() {
    for version in crate::versions() {
        let desk = Desk::new(version).await;
        let gated = "gates: [{before: contract}]";
        let twice =
            "{add_column: {table: items, column: {name: twice, type: integer}, up: amount * 2}}";
        desk.plan("1", "1", "amounts", gated, FIRST);
        desk.plan("2", "2", "twice", gated, twice);
        let said = desk.migrate(&["--until", "contract"], 4).await;
        assert_says(
            &said,
            &[
                "Plan 2 of 2: version 2, twice",
                "wo shapes of public.items are kept in step already, by run",
                "plan amounts, version 1, which is paused in verify",
            ],
        );
        assert_eq!(desk.history().await, ["1 amounts paused"]);
        // The other way round: the trigger would read a column that is gone.
        desk.plan(
            "2",
            "2",
            "gone",
            gated,
            "{drop_column: {table: items, column: note}}",
        );
        let said = desk.migrate(&["--until", "contract"], 4).await;
        assert_says(&said, &["takes columns away from public.items"]);
        // What harms nobody goes on beside it, and so does the next plan.
        desk.plan(
            "2",
            "2",
            "notes",
            "",
            "{set_default: {table: items, column: note, default: \"''\"}}",
        );
        desk.plan("3", "3", "twice", gated, &twice.replace("amount", "exact"));
        desk.migrate(&["--until", "contract"], 4).await;
        assert_eq!(
            desk.history().await,
            ["1 amounts paused", "2 notes completed"]
        );
        let said = desk.migrate(&["--approve", "contract"], 0).await;
        assert_says(&said, &["2 plans of plans are applied."]);
        let wrong = "SELECT count(*) FROM items WHERE twice IS DISTINCT FROM 2 * id";
        assert_eq!(desk.0.text(wrong).await, "0");

        // Two versions of one name follow each other, and are not run at once.
        desk.plan("4", "4", "slugs", gated, SECOND);
        desk.plan(
            "5",
            "5",
            "slugs",
            "",
            "{set_default: {table: items, column: note, default: \"'-'\"}}",
        );
        let said = desk.migrate(&["--until", "contract"], 4).await;
        assert_says(
            &said,
            &["Version 4 of plan slugs is paused in verify; version 5 cannot begin"],
        );
        desk.migrate(&["--approve", "contract"], 0).await;
        desk.end().await;
    }
}
