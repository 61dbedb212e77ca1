//! Defaults, environments and ceilings.

use std::time::Duration;

use super::{Ceilings, Config};
use crate::plan::Plan;
use crate::step::Phase;

const OPERATIONS: &str = "operations:\n  - drop_not_null: {table: a, column: b}\n";

fn plan(head: &str) -> Plan {
    let text = format!("plan: p\nversion: 1\n{head}{OPERATIONS}");
    crate::plan::load("plans/p.yaml", &text).expect("a good plan")
}

fn config(text: &str) -> Config {
    Config::load("pontoon.yaml", text).expect("a good configuration")
}

#[test]
fn silence_is_filled_from_the_defaults() {
    let config = config(
        "defaults:\n  limits: {max_lock_duration: 200ms, max_batch_rows: 500}\n  backfill: {workers: 3}\n  throttle: {replication_lag: 3s}\n  gates: []\n",
    );
    let plan = plan("limits: {max_batch_rows: 700}\nthrottle: {blocked_sessions: 2}\n");
    let now = plan.effective(&config, None, Ceilings::Hold).expect("fits");
    assert_eq!(now.limits.max_lock_duration, Duration::from_millis(200));
    assert_eq!(now.limits.max_batch_rows, 700);
    assert_eq!(now.backfill.workers, 3);
    assert_eq!(
        now.throttle.get("replication_lag").map(String::as_str),
        Some("3s")
    );
    assert_eq!(
        now.throttle.get("blocked_sessions").map(String::as_str),
        Some("2")
    );
    assert!(now.gates.is_empty());
}

#[test]
fn the_lower_of_two_limits_holds_and_gates_are_the_environments() {
    let config = config(
        "environments:\n  staging: {url_env: STAGING_URL, gates: []}\n  production:\n    limits: {max_lock_duration: 100ms, max_batch_rows: 90000, lock_patience: 2h}\n    throttle: {replication_lag: 2s}\n    gates: [{before: backfill}, {before: contract}]\n",
    );
    let plan = plan(
        "limits: {max_lock_duration: 1s, max_batch_rows: 700}\nthrottle: {replication_lag: 9s}\ngates: [{before: contract, message: all deployed}]\n",
    );
    let staging = plan
        .effective(&config, Some("staging"), Ceilings::Hold)
        .expect("fits");
    assert!(staging.gates.is_empty());
    assert_eq!(staging.limits, plan.limits);
    assert_eq!(config.url_env("staging"), Some("STAGING_URL"));
    let production = plan
        .effective(&config, Some("production"), Ceilings::Hold)
        .expect("fits");
    assert_eq!(
        production.limits.max_lock_duration,
        Duration::from_millis(100)
    );
    assert_eq!(production.limits.max_batch_rows, 700);
    assert_eq!(production.limits.lock_patience, Duration::from_secs(7200));
    assert_eq!(production.throttle["replication_lag"], "2s");
    assert_eq!(production.gates.len(), 2);
    assert_eq!(production.gates[0].before, Phase::Backfill);
    assert_eq!(production.gates[1].message.as_deref(), Some("all deployed"));
}

#[test]
fn ceilings_refuse_what_is_said_and_hold_what_is_not() {
    let config = config("ceilings: {max_lock_duration: 1s, max_rows_affected: 1000, workers: 2}\n");
    let silent = plan("")
        .effective(&config, None, Ceilings::Hold)
        .expect("fits");
    assert_eq!(silent.limits.max_rows_affected, Some(1000));
    assert_eq!(silent.limits.max_lock_duration, Duration::from_millis(500));
    let loud =
        plan("limits: {max_lock_duration: 2s, max_rows_affected: 1000}\nbackfill: {workers: 8}\n");
    let findings = loud
        .effective(&config, None, Ceilings::Hold)
        .expect_err("exceeds");
    insta::assert_snapshot!(super::super::render_all(&findings), @r##"
error: `max_lock_duration` of 2s exceeds the ceiling of 1s
  --> plans/p.yaml:3:29
   |
 3 | limits: {max_lock_duration: 2s, max_rows_affected: 1000}
   |                             ^^ expected at most 1s
   = help: lower it, or run with --force if you answer for it
   = note: the ceiling is set at pontoon.yaml:1:31

error: `workers` of 8 exceeds the ceiling of 2
  --> plans/p.yaml:4:21
   |
 4 | backfill: {workers: 8}
   |                     ^ expected at most 2
   = help: lower it, or run with --force if you answer for it
   = note: the ceiling is set at pontoon.yaml:1:69
"##);
    let forced = loud
        .effective(&config, None, Ceilings::Exceed)
        .expect("forced");
    assert_eq!(forced.backfill.workers, 8);
}

#[test]
fn ceilings_over_signals_do_the_same() {
    let config = config(
        "ceilings: {throttle: {replication_lag: {limit: 10s, bytes: 1GB}, lock_waits: 4, query: 9}}\n",
    );
    let held = |throttle: &str| {
        plan(throttle)
            .effective(&config, None, Ceilings::Hold)
            .map(|plan| plan.throttle)
    };
    let silent = held("throttle: {replication_lag: 5s}\n").expect("fits");
    assert_eq!(silent["replication_lag"], r#"{"limit":"5s","bytes":"1GB"}"#);
    assert_eq!(silent["lock_waits"], "4", "it is switched on");
    assert!(!silent.contains_key("query"), "there is nothing to ask");
    let text = "throttle: {replication_lag: 30s, lock_waits: off}\n";
    let findings = held(text).expect_err("exceeds");
    insta::assert_snapshot!(super::super::render_all(&findings), @r##"
error: `lock_waits` is off, and its ceiling is 4
  --> plans/p.yaml:3:46
   |
 3 | throttle: {replication_lag: 30s, lock_waits: off}
   |                                              ^^^ expected at most 4
   = help: lower it, or run with --force if you answer for it
   = note: the ceiling is set at pontoon.yaml:1:78

error: `replication_lag` of 30s exceeds the ceiling of 10s
  --> plans/p.yaml:3:29
   |
 3 | throttle: {replication_lag: 30s, lock_waits: off}
   |                             ^^^ expected at most 10s
   = help: lower it, or run with --force if you answer for it
   = note: the ceiling is set at pontoon.yaml:1:40
"##);
    let forced = plan(text)
        .effective(&config, None, Ceilings::Exceed)
        .expect("forced");
    assert_eq!(forced.throttle["lock_waits"], "off");
    assert_eq!(forced.origin.ceilings()["throttle.lock_waits"], "4");

    let own = "ceilings: {throttle: {replication_lag: 5s}}\ndefaults: {throttle: {replication_lag: 6s}}\n";
    let findings = Config::load("pontoon.yaml", own).expect_err("its own ceiling");
    insta::assert_snapshot!(super::super::render_all(&findings), @r##"
error: `replication_lag` of 6s exceeds the ceiling of 5s
  --> pontoon.yaml:2:40
   |
 2 | defaults: {throttle: {replication_lag: 6s}}
   |                                        ^^ expected at most 5s
"##);
    let unknown = "ceilings: {throttle: {replication_lag: {sql: x}}}\n";
    let findings = Config::load("pontoon.yaml", unknown).expect_err("no limit");
    insta::assert_snapshot!(super::super::render_all(&findings), @r##"
error: unknown key `sql` in ceilings.throttle.replication_lag
  --> pontoon.yaml:1:41
   |
 1 | ceilings: {throttle: {replication_lag: {sql: x}}}
   |                                         ^^^ expected one of limit, bytes, slot_retained, slot_used
"##);
}

#[test]
fn an_unknown_environment_is_refused() {
    let config = config("environments:\n  staging: {url_env: A}\n  production: {url_env: B}\n");
    let findings = plan("")
        .effective(&config, Some("prod"), Ceilings::Hold)
        .expect_err("unknown");
    insta::assert_snapshot!(super::super::render_all(&findings), @r##"
error: there is no environment `prod`
  --> pontoon.yaml:1:1
   |
 1 | environments:
   | ^^^^^^^^^^^^ expected one of production, staging
   = help: did you mean `production`?
"##);
    let none = Config::load("pontoon.yaml", "# nothing yet\n").expect("empty is fine");
    assert_eq!(none.environments().count(), 0);
}

#[test]
fn a_bad_configuration_is_told_all_at_once_and_keeps_its_secrets() {
    let text = "\
ceilings: {max_lock_duration: 1s, max_lock_time: 1s}
defaults: {limits: {max_lock_duration: 3s}, gates: [{before: expand}]}
environments:
  staging: {url_env: 'postgres://joe:hunter2@db/shop', limits: {max_batch_rows: -1}}
  production: {gates: [{before: contract}, {before: contract}], throttle: {replication_leg: 1s}}
";
    let findings = Config::load("pontoon.yaml", text).expect_err("bad");
    let text = super::super::render_all(&findings);
    assert!(!text.contains("hunter2"));
    insta::assert_snapshot!(text, @r##"
error: unknown key `max_lock_time` in ceilings
  --> pontoon.yaml:1:35
   |
 1 | ceilings: {max_lock_duration: 1s, max_lock_time: 1s}
   |                                   ^^^^^^^^^^^^^ expected one of lock_patience, max_rows_affected, max_batch_rows, target_batch_time, workers, throttle

error: `max_lock_duration` exceeds this file's own ceiling of 1s
  --> pontoon.yaml:2:40
   |
 2 | defaults: {limits: {max_lock_duration: 3s}, gates: [{before: expand}]}
   |                                        ^^ expected at most 1s

error: `before` cannot be `expand`
  --> pontoon.yaml:2:62
   |
 2 | defaults: {limits: {max_lock_duration: 3s}, gates: [{before: expand}]}
   |                                                              ^^^^^^ expected one of dual_write, backfill, verify, contract

error: `url_env` must be the name of an environment variable
  --> pontoon.yaml:4:22
   |
 4 |   staging: {url_env: 'postgres://***********@db/shop', limits: {max_batch_rows: -1}}
   |                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ expected a name such as STAGING_DATABASE_URL
   = help: a URL with its password never stands in a file: put it into that variable

error: `max_batch_rows` is negative
  --> pontoon.yaml:4:81
   |
 4 |   staging: {url_env: 'postgres://***********@db/shop', limits: {max_batch_rows: -1}}
   |                                                                                 ^^ expected a whole number, at least 1

error: two gates stand before contract
  --> pontoon.yaml:5:53
   |
 5 |   production: {gates: [{before: contract}, {before: contract}], throttle: {replication_leg: 1s}}
   |                                                     ^^^^^^^^ expected one gate before a phase
   = note: the first one is at pontoon.yaml:5:33

error: unknown signal `replication_leg` in environments.production.throttle
  --> pontoon.yaml:5:76
   |
 5 |   production: {gates: [{before: contract}, {before: contract}], throttle: {replication_leg: 1s}}
   |                                                                            ^^^^^^^^^^^^^^^ expected one of active_sessions, archiver_backlog, blocked_sessions, checkpoint_requests, commit_latency, dead_tuples, file, http, lock_waits, oldest_transaction, query, replication_lag, wal_rate, wraparound_vacuum
   = help: did you mean `replication_lag`?
"##);
}
