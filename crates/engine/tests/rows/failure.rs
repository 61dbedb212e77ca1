//! Failures name the row, and change nothing.

use pontoon_core::step::CursorKind;
use pontoon_engine::db::{DbError, ErrorKind};

use crate::support::{Bed, expr, fill, filling, lower_name, postgres, request, updating};

/// The failure of filling `t` with one mapping, along both cursors.
async fn failures(setup: &str, type_name: &str, up: &str) -> Vec<DbError> {
    let mut errors = Vec::new();
    for cursor in [CursorKind::Pages, CursorKind::Key] {
        let bed = Bed::new(setup).await;
        let mut work = filling("t", vec![fill("name", ("new", type_name), up)]);
        work.cursor = Some(cursor);
        let error = bed.try_finish(&work, 50).await.expect_err("it fails");
        assert_eq!(error.kind, ErrorKind::Failed, "{error:?}");
        // What came before is kept.
        let kept = bed
            .count("SELECT count(*) FROM t WHERE new IS NOT NULL")
            .await;
        assert!((100..217).contains(&kept), "{kept}");
        errors.push(error);
    }
    errors
}

const NUMBERS: &str = "CREATE TABLE t (id int PRIMARY KEY, name text, new TYPE);
    INSERT INTO t SELECT g, CASE WHEN g = 217 THEN 'BAD' ELSE g::text END FROM generate_series(1, 400) g; ANALYZE t;";

#[tokio::test]
async fn a_cast_that_fails_names_the_row() {
    let setup = NUMBERS.replace("TYPE", "int").replace("BAD", "seven");
    for error in failures(&setup, "integer", "({name})::integer").await {
        assert!(error.message.contains("public.t, row id = 217"), "{error}");
        assert!(
            error
                .message
                .contains("invalid input syntax for type integer: \"seven\""),
            "{error}"
        );
        assert!(!error.hints.is_empty());
    }
}

#[tokio::test]
async fn a_division_by_zero_names_the_row() {
    let setup = NUMBERS.replace("TYPE", "int").replace("BAD", "0");
    for error in failures(&setup, "integer", "(1000 / ({name})::integer)").await {
        assert!(error.message.contains("row id = 217"), "{error}");
        assert!(error.message.contains("division by zero"), "{error}");
        assert!(error.message.contains("computing new as"), "{error}");
    }
}

/// Rows that are done, or whose turn comes in another lap, lie between those
/// of the batch.
#[tokio::test]
async fn the_row_is_found_among_rows_that_are_done() {
    for (rows, batch) in [(20_000, 1_000), (20_000, 100), (300, 20), (300, 1_000)] {
        let bed = Bed::new(&format!(
            "CREATE TABLE t (id int PRIMARY KEY, name int, new int) WITH (fillfactor = 90);
             INSERT INTO t SELECT g, CASE WHEN g = {rows} - 7 THEN 0 ELSE g END FROM generate_series(1, {rows}) g; ANALYZE t;"
        ))
        .await;
        let mut work = filling(
            "t",
            vec![fill("name", ("new", "integer"), "(1000 / {name})")],
        );
        work.cursor = Some(CursorKind::Pages);
        let error = bed.try_finish(&work, batch).await.expect_err("it fails");
        let row = format!("row id = {} computing new as", rows - 7);
        assert!(error.message.contains(&row), "{rows}, {batch}: {error}");
    }
}

#[tokio::test]
async fn a_value_that_is_too_long_names_the_row() {
    let setup = NUMBERS
        .replace("TYPE", "varchar(3)")
        .replace("BAD", "much too long");
    for error in failures(&setup, "character varying(3)", "{name}").await {
        assert!(error.message.contains("row id = 217"), "{error}");
        assert!(error.message.contains("too long"), "{error}");
    }
}

#[tokio::test]
async fn a_check_that_refuses_names_the_row() {
    let setup = NUMBERS
        .replace("TYPE", "text CHECK (new <> 'forbidden')")
        .replace("BAD", "forbidden");
    for error in failures(&setup, "text", "{name}").await {
        assert!(error.message.contains("row id = 217"), "{error}");
        assert!(
            error.message.contains("violates check constraint"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_trigger_of_the_users_that_refuses_names_the_row() {
    let setup = format!(
        "{} CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.name = 'x y' THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END $$;
         CREATE TRIGGER refuse BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION refuse();",
        NUMBERS.replace("TYPE", "text").replace("BAD", "x y")
    );
    for error in failures(&setup, "text", "{name}").await {
        assert!(
            error.message.contains("row id = 217") && error.message.contains("not this one"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_row_without_a_key_is_named_by_its_place() {
    let bed =
        Bed::new("CREATE TABLE t (name text, new int); INSERT INTO t VALUES ('1'), ('two')").await;
    let work = filling(
        "t",
        vec![fill("name", ("new", "integer"), "({name})::integer")],
    );
    let error = bed.try_finish(&work, 100).await.expect_err("it fails");
    assert!(error.message.contains("row ctid = (0,2)"), "{error}");
}

#[tokio::test]
async fn where_must_be_false_once_set() {
    for cursor in [CursorKind::Pages, CursorKind::Key] {
        let bed = Bed::new(
            "CREATE TABLE t (id int PRIMARY KEY, n int);
             INSERT INTO t SELECT g, g FROM generate_series(1, 300) g; ANALYZE t;",
        )
        .await;
        let mut work = updating(
            "t",
            ("n", "integer", expr("({n} - 100)", &["n"])),
            expr("({n} > 50)", &["n"]),
        );
        work.cursor = Some(cursor);
        let error = bed.try_finish(&work, 1_000).await.expect_err("it fails");
        assert_eq!(error.kind, ErrorKind::Failed);
        assert!(error.message.contains("row id = 151"), "{error}");
        assert!(error.message.contains("still true"), "{error}");
        assert_eq!(bed.count("SELECT count(*) FROM t WHERE n <> id").await, 0);
    }
}

/// The same values for every row: judged without looking at any.
#[tokio::test]
async fn where_must_be_false_of_constants_too() {
    let bed = Bed::new(
        "CREATE TABLE t (id int PRIMARY KEY, status text);
         INSERT INTO t SELECT g FROM generate_series(1, 300) g;",
    )
    .await;
    let filter = expr(
        "({status} IS NULL OR {status} <> 'done'::text)",
        &["status"],
    );
    let work = updating(
        "t",
        ("status", "text", expr("'begun'::text", &[])),
        filter.clone(),
    );
    let error = bed.try_finish(&work, 1_000).await.expect_err("it fails");
    assert!(error.message.contains("row id = 1"), "{error}");
    let work = updating("t", ("status", "text", expr("'done'::text", &[])), filter);
    assert_eq!(bed.finish(&work, 100).await, 300);
}

/// A trigger of the user's takes the new value away again.
#[tokio::test]
async fn where_is_judged_by_the_row_as_it_was_written() {
    let bed = Bed::new(
        "CREATE TABLE t (id int PRIMARY KEY, status text);
         INSERT INTO t SELECT g FROM generate_series(1, 30) g;
         CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.status := NULL; RETURN NEW; END $$;
         CREATE TRIGGER undo BEFORE UPDATE ON t FOR EACH ROW WHEN (NEW.id = 7) EXECUTE FUNCTION undo();",
    )
    .await;
    let work = updating(
        "t",
        ("status", "text", expr("'done'::text", &[])),
        expr("({status} IS NULL)", &["status"]),
    );
    let error = bed.try_finish(&work, 1_000).await.expect_err("it fails");
    assert!(error.message.contains("still true"), "{error}");
    assert_eq!(
        bed.count("SELECT count(*) FROM t WHERE status IS NOT NULL")
            .await,
        0
    );
}

#[tokio::test]
async fn force_rls() {
    let bed = Bed::new(
        "CREATE ROLE tenant_owner LOGIN;
         CREATE TABLE t (id int PRIMARY KEY, tenant text, name text, lower_name text);
         INSERT INTO t SELECT g, 'a', 'N' || g FROM generate_series(1, 100) g;
         ALTER TABLE t OWNER TO tenant_owner;
         ALTER TABLE t ENABLE ROW LEVEL SECURITY;
         ALTER TABLE t FORCE ROW LEVEL SECURITY;
         CREATE POLICY tenant ON t USING (tenant = current_setting('app.tenant', true));",
    )
    .await;
    bed.execute(
        "GRANT USAGE ON SCHEMA pontoon TO tenant_owner; GRANT ALL ON ALL TABLES IN SCHEMA pontoon TO tenant_owner;
         GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pontoon TO tenant_owner",
    )
    .await;
    let pg = postgres(&bed.database.url_as("tenant_owner"));
    let work = filling("t", lower_name());
    let range = bed.ranges(&work).await.remove(0);
    let error = pontoon_engine::db::Database::batch(&pg, &bed.fence, &request(&work, &range, 10))
        .await
        .expect_err("row security applies");
    assert_eq!(error.kind, ErrorKind::Failed);
    assert!(
        error.message.contains("row level security of public.t"),
        "{error}"
    );
    assert!(
        error.hints.iter().any(|hint| hint.contains("BYPASSRLS")),
        "{error:?}"
    );
    assert_eq!(
        bed.count("SELECT count(*) FROM t WHERE lower_name IS NOT NULL")
            .await,
        0
    );
}

#[tokio::test]
async fn a_missing_column_is_said_without_looking_for_a_row() {
    let bed =
        Bed::new("CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'a')")
            .await;
    let error = bed
        .try_finish(&filling("t", lower_name()), 10)
        .await
        .expect_err("there is no such column");
    assert!(error.message.contains("lower_name"), "{error}");
    assert!(!error.message.contains("row id"), "{error}");
}
