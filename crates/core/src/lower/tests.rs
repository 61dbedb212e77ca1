//! Golden programs: one per operation, and the refusals.

use crate::catalog::{ConstraintKind, Dependent, DependentKind, Grant, Table, Trigger};
use crate::name::TableName;
use crate::step::{Action, Phase, Undo};

use super::fixtures::{
    RUN, analysed, answer, column, compile, outline, parse, trigger, users, with_dependents,
};
use super::{Lowered, RefusalKind, lower, tables};

fn golden(name: &str, operations: &str) {
    let lowered = compile(users(), operations).expect("the plan lowers");
    insta::assert_snapshot!(name, outline(&lowered.program));
}

#[test]
fn every_operation_has_a_golden_program() {
    let cases = [
        (
            "create_table",
            "  - create_table: {table: t, columns: [{name: id, type: bigint, identity: always}, {name: note, type: text, nullable: false, default: \"'x'\"}], primary_key: [id], comment: New}",
        ),
        ("drop_table", "  - drop_table: {table: users}"),
        (
            "rename_table",
            "  - rename_table: {table: users, to: people}",
        ),
        (
            "remove_enum_value",
            "  - remove_enum_value: {name: state, value: closed, replacement: open, columns: [{table: users, column: status}]}",
        ),
        (
            "add_column",
            "  - add_column: {table: users, column: {name: nick, type: text, nullable: false, default: \"'x'\"}}",
        ),
        (
            "add_column_up",
            "  - add_column: {table: users, column: {name: email_lower, type: text, nullable: false, default: \"'x'\"}, up: lower(email)}",
        ),
        (
            "add_generated",
            "  - add_generated: {table: users, column: {name: doubled, type: integer, comment: twice}, expression: amount * 2, stored: false}",
        ),
        (
            "drop_column",
            "  - drop_column: {table: users, column: email, down: status}",
        ),
        (
            "drop_columns",
            "  - drop_columns: {table: users, columns: [email, amount], down: {email: status}}",
        ),
        (
            "rename_column",
            "  - rename_column: {table: users, from: email, to: mail}",
        ),
        (
            "merge_columns",
            "  - merge_columns: {table: users, columns: [email, status], as: pair, type: text, nullable: false, up: email || status, down: {email: lower(pair), status: upper(pair)}}",
        ),
        (
            "split_column",
            "  - split_column: {table: users, column: email, into: [{name: local, type: text, up: lower(email)}, {name: host, type: text, nullable: false, up: upper(email), comment: behind the at}], down: local || host, on_conflict: new}",
        ),
        (
            "change_type",
            "  - change_type: {table: users, column: status, to: varchar(10)}",
        ),
        (
            "change_type_as",
            "  - change_type: {table: users, column: email, to: varchar(10), as: mail}",
        ),
        (
            "change_collation",
            "  - change_collation: {table: users, column: email, to: C}",
        ),
        (
            "set_not_null",
            "  - set_not_null: {table: users, column: status, fill: \"'new'\"}",
        ),
        (
            "drop_not_null",
            "  - drop_not_null: {table: users, column: email}",
        ),
        (
            "set_default",
            "  - set_default: {table: users, column: status, default: \"'x'\"}",
        ),
        (
            "add_index",
            "  - add_index: {table: users, name: users_email, columns: [email, {expression: lower(status), order: desc}], where: status IS NOT NULL, include: [id]}",
        ),
        (
            "add_check",
            "  - add_check: {table: users, name: positive, check: amount > 1}",
        ),
        (
            "add_unique",
            "  - add_unique: {table: users, name: users_email_key, columns: [email]}",
        ),
        (
            "add_foreign_key",
            "  - add_foreign_key: {table: users, name: parent, columns: [amount], references: {table: users, columns: [id]}, on_delete: cascade}",
        ),
        (
            "drop_constraint",
            "  - drop_constraint: {table: users, name: users_amount_check}",
        ),
        (
            "backfill",
            "  - backfill: {table: users, set: {status: \"'new'\"}, where: status IS NULL, undo: {set: {status: \"NULL\"}, where: \"status = 'new'\"}}",
        ),
        (
            "set_comment",
            "  - set_comment: {table: users, comment: People}\n  - set_comment: {table: users, column: email, comment: \"it's theirs\"}",
        ),
        (
            "set_statistics",
            "  - set_statistics: {table: users, column: status, target: 500}",
        ),
        ("analyze", "  - analyze: {table: users}"),
        (
            "add_identity",
            "  - add_identity: {table: users, column: id, as: by_default, start: 1000}",
        ),
        (
            "set_storage",
            "  - set_storage: {table: users, column: email, storage: external, rewrite: true}",
        ),
        (
            "set_compression",
            "  - set_compression: {table: users, column: email, method: pglz, rewrite: true}",
        ),
        (
            "rename_constraint",
            "  - rename_constraint: {table: users, from: users_amount_check, to: positive}",
        ),
        (
            "set_table_options",
            "  - set_table_options: {table: users, set: {fillfactor: 70, toast.autovacuum_enabled: false}, reset: [parallel_workers]}",
        ),
        (
            "set_replica_identity",
            "  - set_replica_identity: {table: users, identity: full}",
        ),
        (
            "create_schema",
            "  - create_schema: {name: reports}\n  - create_enum: {name: reports.kind, labels: [a]}\n  - grant: {privileges: [usage], schema: reports, to: [app]}",
        ),
        (
            "create_extension",
            "  - create_extension: {name: pg_trgm, version: \"1.6\"}",
        ),
        (
            "create_enum",
            "  - create_enum: {name: mood, labels: [sad, \"it's\"]}\n  - add_column: {table: users, column: {name: mood, type: mood}}",
        ),
        (
            "add_enum_value",
            "  - add_enum_value: {name: state, value: ended, before: closed}\n  - add_enum_value: {name: state, value: last}\n  - add_enum_value: {name: state, value: open}",
        ),
        (
            "rename_enum_value",
            "  - rename_enum_value: {name: state, from: open, to: opened}",
        ),
        (
            "create_view",
            "  - create_view: {name: emails, query: \"SELECT email FROM users\", security_barrier: true}\n  - grant: {privileges: [select], table: emails, to: [public]}",
        ),
        (
            "replace_view",
            "  - replace_view: {name: users_view, query: \"SELECT a, b FROM users\"}",
        ),
        (
            "replace_view_contract",
            "  - replace_view: {name: users_view, query: \"SELECT a, b, c FROM users\", phase: contract}",
        ),
        (
            "replace_view_wider",
            "  - replace_view: {name: users_view, query: \"SELECT a, b, c FROM users\"}",
        ),
        ("drop_view", "  - drop_view: {name: users_view}"),
        (
            "grant",
            "  - grant: {privileges: [select, update], table: users, columns: [email], to: [app, public]}\n  - grant: {privileges: [usage], sequence: users_seq, to: [app], with_grant_option: true}",
        ),
        (
            "revoke",
            "  - revoke: {privileges: [usage, select], sequence: users_seq, from: [app]}",
        ),
        (
            "wait_for",
            "  - wait_for: {query: SELECT count(*) = 0 FROM users WHERE status = 'a rather long state of a user', timeout: 1h 30m, every: 500ms, phase: contract}",
        ),
        (
            "sql",
            "  - sql: {phase: expand, run: CREATE EXTENSION pg_trgm, undo: DROP EXTENSION pg_trgm}",
        ),
    ];
    for (name, operations) in cases {
        if name == "add_foreign_key" {
            let mut table = users();
            table
                .indexes
                .push(super::plain_index("users_pkey", &["id".to_owned()]));
            let lowered = compile(table, operations).expect("the plan lowers");
            insta::assert_snapshot!(name, outline(&lowered.program));
            continue;
        }
        golden(name, operations);
    }
}

/// `users` with a primary key.
fn keyed() -> Table {
    let mut table = users();
    table.constraints.push(crate::catalog::Constraint {
        name: "users_pkey".into(),
        kind: ConstraintKind::PrimaryKey {
            columns: vec!["id".into()],
        },
        validated: true,
        deferrable: None,
        definition: String::new(),
    });
    table
}

/// A program with the statements of its dual write, its batches and its proofs.
fn outlined(lowered: &Lowered) -> String {
    let mut golden = outline(&lowered.program);
    for step in &lowered.program.steps {
        if matches!(
            step.action,
            Action::Sync(_) | Action::Backfill(_) | Action::Verify(_)
        ) {
            for text in crate::sql::postgres::texts(step, RUN) {
                golden.push_str(&format!("{}: {text}\n", step.no));
            }
        }
    }
    golden
}

/// One column that may hold NULL, and grants on it.
#[test]
fn extract_lookup_has_a_golden_program() {
    let mut table = keyed();
    table.columns[3].def.default = Some(analysed("'new'", &[]));
    table.columns[3].grants.push(Grant {
        grantee: Some("app".into()),
        privilege: "SELECT".into(),
        grantable: false,
    });
    let operations =
        "  - extract_lookup: {table: users, columns: [status], into: states, reference: state_id}";
    let lowered = compile(table, operations).expect("the plan lowers");
    insta::assert_snapshot!("extract_lookup", outlined(&lowered));
}

/// With a primary key, and things that hang on columns that move.
#[test]
fn split_table_has_a_golden_program() {
    let mut table = keyed();
    table
        .indexes
        .push(super::plain_index("users_email", &["email".to_owned()]));
    for (column, kind, name) in [
        (1, DependentKind::Index, "users_email"),
        (2, DependentKind::Check, "users_amount_check"),
    ] {
        table.columns[column].dependents.push(Dependent {
            kind,
            name: name.into(),
        });
    }
    table.columns[1].def.default = Some(analysed("'nobody'", &[]));
    table.columns[1].grants.push(Grant {
        grantee: Some("app".into()),
        privilege: "UPDATE".into(),
        grantable: false,
    });
    let operations = "  - split_table: {table: users, into: accounts, columns: [email, amount]}";
    let lowered = compile(table, operations).expect("the plan lowers");
    insta::assert_snapshot!("split_table", outlined(&lowered));
}

/// Operations on what `users` does not have in the other tests.
#[test]
fn indexes_and_unproven_constraints_have_golden_programs() {
    let mut table = users();
    table
        .indexes
        .push(super::plain_index("users_email", &["email".to_owned()]));
    table.constraints[0].validated = false;
    for (name, operations) in [
        (
            "rename_index",
            "  - rename_index: {name: users_email, to: users_by_email}",
        ),
        (
            "validate_constraint",
            "  - backfill: {table: users, set: {amount: 1}, where: amount < 1}\n  - validate_constraint: {table: users, name: users_amount_check}",
        ),
        (
            "reindex",
            "  - reindex: {table: users}\n  - reindex: {name: users_email}",
        ),
        (
            "replace_index",
            "  - replace_index: {table: users, name: users_email, columns: [email, status], where: amount > 0}",
        ),
        (
            "replace_index_unique",
            "  - replace_index: {table: users, name: users_email, columns: [status], unique: true}",
        ),
        (
            "add_primary_key",
            "  - add_column: {table: users, column: {name: nick, type: text, nullable: false}, up: email}\n  - add_primary_key: {table: users, name: users_pkey, columns: [id, status, amount, nick]}",
        ),
        (
            "set_replica_identity_index",
            "  - set_replica_identity: {table: users, identity: index, index: users_email}",
        ),
    ] {
        let lowered = compile(table.clone(), operations).expect("the plan lowers");
        insta::assert_snapshot!(name, outline(&lowered.program));
    }
}

#[test]
fn what_small_operations_cannot_do_is_refused_with_the_way_out() {
    let mut table = users();
    table
        .indexes
        .push(super::plain_index("users_status", &["status".to_owned()]));
    table.publications.push(crate::catalog::Publication {
        name: "feed".into(),
        columns: None,
        filtered: false,
    });
    let mut all = String::new();
    for operation in [
        "set_comment: {table: users, trigger: gone, comment: x}",
        "set_comment: {index: users_gone, comment: x}",
        "set_comment: {table: users, column: emial, comment: x}",
        "set_table_options: {table: users, set: {fill_factor: 70}}",
        "set_table_options: {table: users, reset: [user_catalog_table]}",
        "rename_constraint: {table: users, from: users_amuont_check, to: other}",
        "rename_constraint: {table: users, from: users_amount_check, to: users_amount_check2}\n  - rename_index: {name: users_gone, to: x}",
        "set_replica_identity: {table: users, identity: index, index: users_status}",
        "set_replica_identity: {table: users, identity: index, index: gone}",
        "set_replica_identity: {table: users, identity: nothing}",
        "validate_constraint: {table: users, name: nothing_like_it}",
        "replace_index: {table: users, name: users_stats, columns: [email]}",
        "add_column: {table: users, column: {name: nick, type: text}, up: email}\n  - add_primary_key: {table: users, name: users_status, columns: [nick]}",
        "drop_columns: {table: users, columns: [email, status]}",
        "drop_columns: {table: users, columns: [email, status], down: {email: status}}",
        "merge_columns: {table: users, columns: [email, status], as: pair, type: text, up: email || id, down: {email: pair, status: coalesce(pair)}}",
        "split_column: {table: users, column: email, into: [{name: local, type: text, up: lower(email)}, {name: host, type: text, up: upper(email)}], down: lower(local)}",
        "split_column: {table: users, column: email, into: [{name: status, type: text, up: lower(email)}], down: lower(status)}",
        "split_column: {table: users, column: emial, into: [{name: local, type: text, up: lower(email)}], down: lower(local)}",
        "set_compression: {table: users, column: email, method: lz4}",
        "set_compression: {table: users, column: id, method: pglz}",
        "set_storage: {table: users, column: id, storage: main}",
        "add_identity: {table: users, column: id, as: always}",
        "add_identity: {table: users, column: amount, as: always, start: 1}",
        "add_identity: {table: users, column: email, as: always, start: 1}",
        "rename_table: {table: users, to: users_view}",
        "rename_table: {table: users, to: state}",
        "rename_table: {table: users, to: people}",
        "rename_table: {table: users, to: people}\n  - drop_index: {name: users_status}",
        "create_schema: {name: public}",
        "create_enum: {name: gone.mood, labels: [a]}",
        "create_enum: {name: state, labels: [a]}",
        "create_extension: {name: postgis}",
        "create_extension: {name: pg_trgm, version: \"1.7\"}",
        "create_extension: {name: plpgsql, version: \"2.0\"}",
        "add_enum_value: {name: state, value: x, after: opne}",
        "add_enum_value: {name: stat, value: x}",
        "rename_enum_value: {name: state, from: open, to: closed}",
        "remove_enum_value: {name: state, value: clsed, columns: [{table: users, column: amount}]}",
        "create_view: {name: users_view, query: SELECT 1}",
        "replace_view: {name: users_view, query: \"SELECT a, d FROM users\"}",
        "replace_view: {name: users_view, query: \"SELECT a FROM users\"}",
        "drop_view: {name: gone}",
        "grant: {privileges: [select], table: users, to: [nobody]}",
        "revoke: {privileges: [select], table: users, columns: [emial], from: [app]}",
    ] {
        let refusals = compile(table.clone(), &format!("  - {operation}")).expect_err(operation);
        for refusal in refusals {
            assert!(
                !refusal.hints.is_empty(),
                "{operation}: {}",
                refusal.message
            );
            all.push_str(&format!(
                "{}\n    {}\n",
                refusal.message,
                refusal.hints.join(" ")
            ));
        }
    }
    insta::assert_snapshot!("small_refusals", all);
}

#[test]
fn operations_on_one_table_share_triggers_scan_and_verify() {
    let lowered = compile(
        users(),
        "  - rename_column: {table: users, from: email, to: mail}\n  - change_type: {table: users, column: status, to: varchar(10), as: state}\n  - add_column: {table: users, column: {name: n, type: text}, up: lower(email)}",
    )
    .expect("the plan lowers");
    let count = |kind: &str| {
        lowered
            .program
            .steps
            .iter()
            .filter(|step| step.action.kind() == kind)
            .count()
    };
    assert_eq!(
        (count("sync"), count("backfill"), count("verify")),
        (1, 1, 1)
    );
}

#[test]
fn nothing_before_the_cutover_is_irreversible_and_nothing_follows_it() {
    let lowered = compile(
        users(),
        "  - rename_column: {table: users, from: email, to: mail}\n  - drop_column: {table: users, column: status}\n  - add_check: {table: users, name: positive, check: amount > 1}",
    )
    .expect("the plan lowers");
    let (last, rest) = lowered.program.steps.split_last().expect("there are steps");
    assert_eq!(last.phase, Phase::Contract);
    assert!(matches!(&last.action, Action::Ddl(ddl) if ddl.cutover));
    assert!(
        rest.iter()
            .all(|step| !matches!(step.undo, Undo::Impossible { .. }))
    );
}

fn refusals(table: Table, operations: &str) -> Vec<String> {
    compile(table, operations)
        .expect_err("the plan is refused")
        .into_iter()
        .map(|refusal| refusal.message)
        .collect()
}

#[test]
fn each_dependent_of_a_replaced_column_is_named() {
    let mut table = users();
    for (kind, name) in [
        (DependentKind::Exclusion, "users_status_excl"),
        (DependentKind::PartitionKey, "public.users"),
        (
            DependentKind::Unknown {
                class: "pg_something".into(),
            },
            "thing",
        ),
    ] {
        table.columns[3].dependents.push(Dependent {
            kind,
            name: name.into(),
        });
    }
    let messages = refusals(
        table,
        "  - change_type: {table: users, column: status, to: varchar(10)}",
    );
    assert_eq!(messages.len(), 3);
    for name in ["users_status_excl", "public.users", "thing"] {
        assert!(
            messages.iter().any(|message| message.contains(name)),
            "{name}: {messages:?}"
        );
    }
}

/// Everything that a program says in SQL, with its batches and passes.
fn whole(lowered: &Lowered) -> String {
    let texts = |step| crate::sql::postgres::texts(step, "run").join(";\n");
    let all: Vec<String> = lowered.program.steps.iter().map(texts).collect();
    all.join("\n")
}

#[test]
fn only_types_that_may_lose_are_looked_at() {
    let mut table = users();
    table.columns[2] = column("amount", "numeric(12,4)", true);
    let operation = |to: &str, more: &str| {
        format!("  - change_type: {{table: users, column: amount, to: \"{to}\"{more}}}")
    };
    for (to, more, looked_at) in [
        ("numeric(12,2)", "", true),
        ("numeric(12,2)", ", as: cents", true),
        ("numeric(12,2)", ", lossy: true", false),
        ("numeric(12,2)", ", up: \"round(amount, 2)\"", false),
        ("numeric(14,4)", "", false),
        ("numeric(14,4)", ", as: more", false),
        ("numeric", "", false),
    ] {
        let lowered = compile(table.clone(), &operation(to, more)).expect("the plan lowers");
        let text = whole(&lowered);
        assert_eq!(text.contains("_lost"), looked_at, "{to}{more}: {text}");
        assert_eq!(
            text.contains("pg_catalog.round("),
            looked_at,
            "{to}{more}: {text}"
        );
        let told = lowered
            .notes
            .iter()
            .any(|(_, note)| note.contains("lossy: true"));
        assert_eq!(told, looked_at, "{to}{more}: {:?}", lowered.notes);
    }
    let messages = refusals(table.clone(), &operation("numeric(14,4)", ", lossy: true"));
    assert!(messages[0].contains("loses nothing"), "{messages:?}");
    table.columns[2] = column("amount", "text", true);
    let messages = refusals(table, &operation("jsonb", ""));
    assert!(messages[0].contains("jsonb keeps neither"), "{messages:?}");
}

#[test]
fn what_hangs_on_a_replaced_column_is_carried_over() {
    let operations = "  - change_type: {table: users, column: amount, to: bigint}";
    let lowered = compile(with_dependents(), operations).expect("the plan lowers");
    insta::assert_snapshot!("change_type_dependents", outline(&lowered.program));
}

#[test]
fn what_the_server_cannot_carry_over_is_refused_in_its_words() {
    let plan = parse("  - change_type: {table: users, column: amount, to: bigint}");
    let mut catalog = answer(with_dependents(), &plan);
    catalog.replacements[0].indexes[0].result = Err(crate::catalog::ServerMessage {
        code: "42704".into(),
        message: "no such operator class".into(),
        hint: None,
    });
    let refusals = lower(&plan, &catalog).expect_err("it is refused");
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    assert!(
        refusals[0].message.contains("users_by_amount")
            && refusals[0].message.contains("no such operator class"),
        "{refusals:?}"
    );
}

#[test]
fn what_two_operations_would_carry_over_is_refused() {
    let mut table = with_dependents();
    table.columns[3].dependents.push(Dependent {
        kind: DependentKind::Index,
        name: "users_by_amount".into(),
    });
    for other in [
        "change_type: {table: users, column: status, to: varchar(10)}",
        "drop_index: {name: users_by_amount}",
    ] {
        let operations =
            format!("  - change_type: {{table: users, column: amount, to: bigint}}\n  - {other}");
        let messages = refusals(table.clone(), &operations);
        assert!(
            messages
                .iter()
                .any(|message| message.contains("users_by_amount, too")),
            "{other}: {messages:?}"
        );
    }
}

#[test]
fn readers_of_whole_rows_are_named() {
    let mut table = users();
    table.dependents.push(Dependent {
        kind: DependentKind::RowType,
        name: "function public.f(users)".into(),
    });
    for operations in [
        "  - change_type: {table: users, column: status, to: varchar(10)}",
        "  - drop_column: {table: users, column: status}",
    ] {
        let messages = refusals(table.clone(), operations);
        assert!(messages[0].contains("public.f(users)"), "{messages:?}");
    }
}

#[test]
fn before_triggers_that_sort_outside_ours_are_refused() {
    for (name, refused) in [
        ("!a", true),
        ("zzzz", false),
        ("~t", false),
        ("~~~", true),
        (" ", true),
    ] {
        let mut table = users();
        table.triggers.push(trigger(name));
        let outcome = compile(
            table,
            "  - rename_column: {table: users, from: email, to: mail}",
        );
        assert_eq!(outcome.is_err(), refused, "trigger {name:?}");
    }
}

#[test]
fn updated_at() {
    let mut table = users();
    table.triggers.push(Trigger {
        on_update: true,
        ..trigger("set_updated_at")
    });
    let operations = "  - rename_column: {table: users, from: email, to: mail}";
    let messages = refusals(table.clone(), operations);
    assert!(messages[0].contains("set_updated_at"), "{messages:?}");
    let mut plan = parse(operations);
    plan.acknowledge.push("trigger:set_updated_at".into());
    lower(&plan, &answer(table, &plan)).expect("an acknowledged trigger is accepted");
}

#[test]
fn published_table() {
    let mut table = users();
    table.publications.push(crate::catalog::Publication {
        name: "feed".into(),
        columns: None,
        filtered: false,
    });
    let operations = "  - add_column: {table: users, column: {name: n, type: text}}";
    let messages = refusals(table.clone(), operations);
    assert!(messages[0].contains("publication feed"), "{messages:?}");
    let mut plan = parse(operations);
    plan.acknowledge.push("publication:feed".into());
    lower(&plan, &answer(table, &plan)).expect("an acknowledged publication is accepted");
}

#[test]
fn a_virtual_column_needs_eighteen() {
    let plan = parse(
        "  - add_generated: {table: users, column: {name: n, type: integer}, expression: amount * 2, stored: false}",
    );
    let mut catalog = answer(users(), &plan);
    catalog.server.version = 170_000;
    let refusals = lower(&plan, &catalog).expect_err("17 has none");
    assert!(
        refusals[0].message.contains("PostgreSQL 18"),
        "{refusals:?}"
    );
    assert!(refusals[0].hints[0].contains("trigger"), "{refusals:?}");
}

#[test]
fn a_limit_below_the_estimate_is_refused_before_the_start() {
    let mut plan = parse("  - rename_column: {table: users, from: email, to: mail}");
    plan.limits.max_rows_affected = Some(49_999);
    let refusals = lower(&plan, &answer(users(), &plan)).expect_err("too many rows");
    assert_eq!(refusals[0].kind, RefusalKind::Unsafe);
    plan.limits.max_rows_affected = Some(50_000);
    lower(&plan, &answer(users(), &plan)).expect("just enough");
}

#[test]
fn names_that_are_missing_come_with_the_nearest() {
    let messages = compile(
        users(),
        "  - rename_column: {table: usrs, from: email, to: mail}",
    )
    .expect_err("no such table");
    assert_eq!(messages[0].hints, ["Did you mean `users`?"]);
    let messages = compile(
        users(),
        "  - rename_column: {table: users, from: emial, to: mail}",
    )
    .expect_err("no such column");
    assert_eq!(messages[0].hints, ["Did you mean `email`?"]);
}

#[test]
fn down_that_fills_a_null_is_refused() {
    let messages = refusals(
        users(),
        "  - change_type: {table: users, column: status, to: varchar(10), as: state, down: \"coalesce(state, '')\"}",
    );
    assert!(
        messages[0].contains("turns NULL into a value"),
        "{messages:?}"
    );
}

#[test]
fn a_foreign_key_between_types_that_cannot_be_compared_is_refused() {
    let mut table = users();
    table
        .indexes
        .push(super::plain_index("users_pkey", &["id".to_owned()]));
    let key = |column: &str| {
        format!(
            "  - add_foreign_key: {{table: users, name: parent, columns: [{column}], references: {{table: users, columns: [id]}}}}"
        )
    };
    let messages = refusals(table.clone(), &key("email"));
    assert!(messages[0].contains("cannot compare"), "{messages:?}");
    compile(table, &key("amount")).expect("integer and bigint can be compared");
}

#[test]
fn volatile_expressions_need_the_authors_word() {
    let messages = refusals(
        users(),
        "  - add_column: {table: users, column: {name: n, type: text}, up: random()}",
    );
    assert!(
        messages[0].contains("another value each time"),
        "{messages:?}"
    );
    compile(
        users(),
        "  - add_column: {table: users, column: {name: n, type: text}, up: random(), allow_volatile: true}",
    )
    .expect("allowed");
}

#[test]
fn tables_are_named_before_anything_is_known() {
    let plan = parse("  - change_type: {table: users, column: status, to: varchar(10), as: state}");
    assert_eq!(tables(&plan), [TableName::new("public", "users")]);
}

#[test]
fn a_preview_tells_everything_before_anything_changes() {
    let mut table = users();
    table.triggers.push(Trigger {
        before: false,
        on_update: true,
        ..trigger("audit")
    });
    table.publications.push(crate::catalog::Publication {
        name: "feed".into(),
        columns: Some(vec!["id".into()]),
        filtered: false,
    });
    let mut plan = parse(
        "  - rename_column: {table: users, from: email, to: mail}\n  - add_column: {table: users, column: {name: email_lower, type: text, nullable: false}, up: lower(email)}\n  - set_not_null: {table: users, column: status, fill: \"'new'\"}\n  - drop_column: {table: users, column: amount}",
    );
    plan.acknowledge.push("trigger:audit".into());
    plan.gates[0].message = Some("app 4.2 everywhere".into());
    let catalog = answer(table, &plan);
    let lowered = lower(&plan, &catalog).expect("the plan lowers");
    let preview = crate::preview::Preview::new(&plan, &catalog, &lowered);
    insta::assert_snapshot!("preview_text", preview.render());
    insta::assert_json_snapshot!("preview_json", preview);
}
