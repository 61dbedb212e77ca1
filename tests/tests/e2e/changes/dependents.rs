//! What hangs on a column whose type changes is still there afterwards, under
//! its old name: the catalog is what PostgreSQL's own ALTER … TYPE makes of it,
//! rights and dependencies included. The column is each table's last one, so
//! that both ways leave it at the same place.

use crate::scene::{Scene, plan};

/// A table with something that hangs on a column.
struct Kind {
    /// What it is, which is the schema that it is made in.
    name: &'static str,
    /// Makes it.
    setup: &'static str,
    /// What follows `change_type: {table: NAME.t, column: c`.
    to: &'static str,
    /// The same by hand.
    by_hand: &'static str,
    /// Queries that give true at the end, with the schema in the search path.
    holds: &'static [&'static str],
}

const TO_BIGINT: &str = "ALTER TABLE t ALTER c TYPE bigint";

/// What is written into the catalog only. The column is renamed, or changed, by
/// hand before anything hangs on it: see [`by_hand`].
const WRITTEN: &str = "CREATE TABLE t (other integer, c integer);
    CREATE TABLE log (c bigint);
    CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
    --
    CREATE POLICY mine ON t AS RESTRICTIVE FOR UPDATE TO PUBLIC USING (c > 3 AND other IS NULL) WITH CHECK (c < 100000);
    COMMENT ON POLICY mine ON t IS 'only mine';
    CREATE TRIGGER of_it AFTER UPDATE OF other, c ON t FOR EACH ROW EXECUTE FUNCTION watch();
    CREATE TRIGGER condition AFTER INSERT ON t FOR EACH ROW WHEN (NEW.c > 5 AND NEW.other = 7) EXECUTE FUNCTION watch();
    ALTER TABLE t DISABLE TRIGGER condition, ENABLE REPLICA TRIGGER of_it;
    COMMENT ON TRIGGER of_it ON t IS 'watched';
    CREATE RULE logged AS ON DELETE TO t WHERE OLD.c > 10 DO ALSO INSERT INTO log VALUES (OLD.c);
    CREATE VIEW lower WITH (security_barrier = true) AS SELECT t.c, t.c * 2 AS twice FROM t WHERE t.c > 0 WITH CASCADED CHECK OPTION;
    CREATE VIEW upper AS SELECT lower.c, lower.twice FROM lower WHERE lower.twice > 1;
    ALTER VIEW upper ALTER COLUMN c SET DEFAULT 4;
    GRANT SELECT ON upper TO PUBLIC;
    GRANT UPDATE (c) ON lower TO pg_monitor WITH GRANT OPTION;
    DO $$ BEGIN IF current_setting('server_version_num')::integer >= 150000 THEN
        EXECUTE format('CREATE PUBLICATION %I FOR TABLE t (other, c) WHERE (c > 5) WITH (publish = ''insert'')', current_schema());
    END IF; END $$;
    COMMENT ON VIEW upper IS 'seen';
    COMMENT ON COLUMN upper.twice IS 'two times'";

/// Functions and procedures with an SQL body, read by others and reading them;
/// made again by hand as [`WRITTEN`] is.
const FUNCTIONS: &str = "CREATE TABLE t (other integer, c integer);
    --
    CREATE FUNCTION plain(x integer DEFAULT 3, OUT highest bigint, OUT name text) LANGUAGE sql STABLE PARALLEL SAFE COST 7
        SET work_mem = '8MB' BEGIN ATOMIC SELECT 1; SELECT max(t.c) + x, lower('N') FROM t; END;
    CREATE FUNCTION plain(y text) RETURNS SETOF numeric LANGUAGE sql ROWS 20 STRICT SECURITY DEFINER
        BEGIN ATOMIC SELECT t.c FROM t WHERE t.other::text = y; END;
    CREATE PROCEDURE bump(\"The value\" integer) LANGUAGE sql
        BEGIN ATOMIC INSERT INTO t (c) VALUES (\"The value\"); UPDATE t SET c = t.c + 1 WHERE t.c = \"The value\"; END;
    CREATE VIEW seen AS SELECT t.c AS value, t.other FROM t WHERE t.c > 0;
    CREATE FUNCTION through() RETURNS bigint LANGUAGE sql RETURN (SELECT sum(seen.value) FROM seen);
    CREATE VIEW calling AS SELECT t.other, through() AS total FROM t WHERE t.c > 1;
    CREATE FUNCTION upon() RETURNS bigint LANGUAGE sql RETURN through() + (SELECT max(calling.total) FROM calling);
    CREATE POLICY called ON t USING (through() > c);
    CREATE VIEW public.far AS SELECT t.c + 1 AS more FROM t;
    CREATE VIEW farther AS SELECT far.more FROM public.far WHERE far.more > 2;
    CREATE FUNCTION public.far_away() RETURNS bigint LANGUAGE sql RETURN (SELECT max(far.more) FROM public.far);
    COMMENT ON FUNCTION plain(text) IS 'of a text';
    GRANT EXECUTE ON FUNCTION plain(text) TO pg_monitor WITH GRANT OPTION;
    REVOKE EXECUTE ON FUNCTION through() FROM PUBLIC;
    ALTER FUNCTION upon() OWNER TO pg_monitor";

/// Materialized views over each other, over views, and what reads them.
const MATERIALIZED: &str = "CREATE TABLE t (other integer, c integer);
    --
    CREATE VIEW lower WITH (security_barrier = true) AS SELECT t.c, t.other, t.c % 10 AS digit FROM t WHERE t.c > 0;
    CREATE MATERIALIZED VIEW totals WITH (fillfactor = 70, toast.autovacuum_enabled = false) AS
        SELECT lower.digit, sum(lower.c) AS total, max(t.c) AS c, 'n'::text AS note
          FROM lower JOIN t ON t.c = lower.c GROUP BY lower.digit;
    CREATE UNIQUE INDEX totals_digit ON totals (digit) WITH (fillfactor = 60);
    CREATE INDEX \"Of totals\" ON totals ((c + 1), total DESC, note text_pattern_ops) WHERE c > 3;
    ALTER INDEX \"Of totals\" ALTER COLUMN 1 SET STATISTICS 300;
    ALTER MATERIALIZED VIEW totals ALTER c SET STATISTICS 200, ALTER c SET (n_distinct = 5), ALTER note SET STORAGE EXTERNAL;
    ALTER MATERIALIZED VIEW totals CLUSTER ON totals_digit;
    COMMENT ON MATERIALIZED VIEW totals IS 'counted';
    COMMENT ON COLUMN totals.c IS 'the last';
    COMMENT ON INDEX totals_digit IS 'which';
    GRANT SELECT ON totals TO PUBLIC;
    GRANT SELECT (digit) ON totals TO pg_monitor WITH GRANT OPTION;
    CREATE MATERIALIZED VIEW empty AS SELECT totals.total * 2 AS twice FROM totals WITH NO DATA;
    CREATE MATERIALIZED VIEW public.{name}_rows AS SELECT count(*) AS number FROM totals;
    CREATE VIEW beside AS SELECT totals.total, r.number FROM totals, public.{name}_rows r;
    CREATE FUNCTION highest() RETURNS numeric LANGUAGE sql RETURN (SELECT max(totals.total) FROM totals)";

const KINDS: &[Kind] = &[
    Kind {
        name: "indexes",
        setup: "CREATE TABLE t (id bigint, other text, c integer);
                CREATE INDEX plain ON t (c DESC NULLS LAST, other COLLATE \"C\" text_pattern_ops);
                CREATE UNIQUE INDEX single ON t (c) INCLUDE (other) WITH (fillfactor = 70, deduplicate_items = off) WHERE c > 10;
                CREATE INDEX expression ON t ((c + 1), lower(other)) WHERE c IS NOT NULL AND other IS DISTINCT FROM 'c';
                ALTER INDEX expression ALTER COLUMN 1 SET STATISTICS 300;
                CREATE INDEX hashed ON t USING hash (c);
                CREATE INDEX \"Of c\" ON t USING brin (c) WITH (pages_per_range = 4);
                CREATE INDEX not_of_it ON t (other);
                COMMENT ON INDEX plain IS 'the plain one';
                ALTER TABLE t CLUSTER ON plain",
        to: "bigint",
        // ALTER … TYPE itself loses the statistics target.
        by_hand: "ALTER TABLE t ALTER c TYPE bigint; ALTER INDEX expression ALTER COLUMN 1 SET STATISTICS 300",
        holds: &["SELECT count(*) > 0 FROM pg_stats WHERE tablename = 'expression' AND schemaname = 'indexes'"],
    },
    Kind {
        name: "keys",
        setup: "CREATE TABLE t (a text, other integer, c integer NOT NULL,
                    CONSTRAINT the_key PRIMARY KEY (c) WITH (fillfactor = 80),
                    CONSTRAINT twice UNIQUE (other, c) INCLUDE (a),
                    CONSTRAINT later UNIQUE (c) DEFERRABLE INITIALLY DEFERRED);
                COMMENT ON CONSTRAINT the_key ON t IS 'which row';
                COMMENT ON INDEX twice IS 'how it is found'",
        to: "bigint",
        by_hand: TO_BIGINT,
        holds: &[],
    },
    Kind {
        name: "identity",
        setup: "CREATE TABLE t (a text, c integer NOT NULL);
                CREATE UNIQUE INDEX who ON t (c);
                ALTER TABLE t REPLICA IDENTITY USING INDEX who",
        to: "bigint",
        by_hand: TO_BIGINT,
        holds: &[],
    },
    Kind {
        name: "checks",
        setup: "CREATE TABLE t (other integer, c integer,
                    CONSTRAINT positive CHECK (c > 0), CONSTRAINT \"Both\" CHECK (c > other OR other IS NULL));
                ALTER TABLE t ADD CONSTRAINT unproven CHECK (c < 100000) NOT VALID,
                    ADD CONSTRAINT not_below CHECK (c <> 7) NO INHERIT;
                COMMENT ON CONSTRAINT positive ON t IS 'no debts'",
        to: "bigint",
        by_hand: TO_BIGINT,
        holds: &[],
    },
    Kind {
        name: "renamed",
        setup: "CREATE TABLE t (other integer, c integer CONSTRAINT positive CHECK (c > 0));
                CREATE INDEX halves ON t ((c / 2)) WHERE c <> 5",
        to: "bigint, as: c_wide",
        by_hand: "ALTER TABLE t RENAME c TO c_wide; ALTER TABLE t ALTER c_wide TYPE bigint",
        holds: &[],
    },
    Kind {
        name: "texts",
        setup: "CREATE TABLE t (id integer, c varchar(20) COLLATE \"C\");
                CREATE INDEX folded ON t (lower(c), c varchar_pattern_ops) WHERE c <> 'x';
                ALTER TABLE t ADD CONSTRAINT known CHECK (c IN ('a', 'b') OR c LIKE 'n%')",
        to: "text",
        by_hand: "ALTER TABLE t ALTER c TYPE text COLLATE \"C\"",
        holds: &[],
    },
    Kind {
        name: "foreign_keys",
        setup: "CREATE TABLE target (id bigint PRIMARY KEY, part integer, UNIQUE (part, id));
                INSERT INTO target SELECT g, g FROM generate_series(1, 100) g;
                CREATE TABLE t (part integer, c integer,
                    CONSTRAINT away FOREIGN KEY (c) REFERENCES target ON DELETE CASCADE ON UPDATE SET NULL DEFERRABLE INITIALLY DEFERRED,
                    CONSTRAINT two FOREIGN KEY (part, c) REFERENCES target (part, id) MATCH FULL);
                ALTER TABLE t ADD CONSTRAINT unproven FOREIGN KEY (c) REFERENCES target NOT VALID;
                COMMENT ON CONSTRAINT away ON t IS 'whose'",
        to: "bigint",
        by_hand: TO_BIGINT,
        holds: &[],
    },
    Kind {
        name: "referenced",
        setup: "CREATE TABLE t (parent integer, d integer, c integer PRIMARY KEY,
                    CONSTRAINT tree FOREIGN KEY (parent) REFERENCES t (c) ON DELETE SET NULL, CONSTRAINT pair UNIQUE (c, d));
                CREATE TABLE first (t_id integer CONSTRAINT of_t REFERENCES t ON DELETE CASCADE, d integer,
                    CONSTRAINT of_both FOREIGN KEY (t_id, d) REFERENCES t (c, d) DEFERRABLE);
                CREATE TABLE second (id integer PRIMARY KEY, t_id bigint);
                ALTER TABLE second ADD CONSTRAINT unproven FOREIGN KEY (t_id) REFERENCES t ON UPDATE CASCADE NOT VALID;
                COMMENT ON CONSTRAINT of_t ON first IS 'of which'",
        to: "bigint",
        by_hand: TO_BIGINT,
        holds: &[],
    },
    Kind {
        name: "settings",
        setup: "CREATE TABLE t (a text, b integer, c varchar(100));
                ALTER TABLE t ALTER c SET STATISTICS 200, ALTER c SET STORAGE EXTERNAL, ALTER c SET (n_distinct = -0.5);
                CREATE STATISTICS together (ndistinct, mcv) ON b, c FROM t;
                CREATE STATISTICS \"Of c\" ON (lower(c)), b FROM t;
                ALTER STATISTICS together SET STATISTICS 50;
                COMMENT ON STATISTICS together IS 'of both'",
        to: "text",
        // ALTER … TYPE itself forgets the storage and the target.
        by_hand: "ALTER TABLE t ALTER c TYPE text; ALTER TABLE t ALTER c SET STORAGE EXTERNAL; ALTER STATISTICS together SET STATISTICS 50",
        holds: &["SELECT count(*) = 2 FROM pg_statistic_ext_data d JOIN pg_statistic_ext s ON s.oid = d.stxoid WHERE s.stxnamespace = 'settings'::regnamespace"],
    },
    Kind {
        name: "serials",
        setup: "CREATE TABLE t (a text, c serial);
                CREATE SEQUENCE other OWNED BY t.c;
                COMMENT ON SEQUENCE t_c_seq IS 'counts'",
        to: "bigint",
        by_hand: "ALTER TABLE t ALTER c TYPE bigint; ALTER SEQUENCE t_c_seq AS bigint; ALTER SEQUENCE other AS bigint",
        holds: &[
            "INSERT INTO t (a) VALUES ('next'); SELECT nextval('t_c_seq') = 2",
        ],
    },
    Kind {
        name: "identities",
        setup: "CREATE TABLE t (a text, c integer GENERATED BY DEFAULT AS IDENTITY (START 5 INCREMENT 3 CACHE 2) PRIMARY KEY);
                GRANT USAGE ON SEQUENCE t_c_seq TO PUBLIC;
                COMMENT ON SEQUENCE t_c_seq IS 'counts';
                SELECT setval('t_c_seq', 1000)",
        to: "bigint",
        by_hand: TO_BIGINT,
        holds: &[
            "INSERT INTO t (a) VALUES ('next'); SELECT bool_or(c = 1003) FROM t",
        ],
    },
    Kind {
        name: "written",
        setup: WRITTEN,
        to: "bigint",
        // ALTER … TYPE refuses all of these.
        by_hand: "",
        holds: &["SELECT count(*) = 71 AND sum(twice) = 2 * sum(c) FROM upper JOIN t USING (c)"],
    },
    Kind {
        name: "written_as",
        setup: WRITTEN,
        to: "bigint, as: c_wide",
        by_hand: "",
        holds: &["SELECT count(*) = 71 AND sum(twice) = 2 * sum(c) FROM upper"],
    },
];

/// What reads the column, through views as well.
const READERS: &[Kind] = &[
    Kind {
        name: "functions",
        setup: FUNCTIONS,
        to: "bigint",
        // ALTER … TYPE refuses all of these.
        by_hand: "",
        holds: &[
            "SELECT through() = sum(c) AND public.far_away() = 91 AND (SELECT highest FROM plain()) = 93 FROM t",
            "SELECT upon() = 2 * through() AND (SELECT count(*) FROM calling) = 71 AND (SELECT count(*) FROM farther) = 71",
            "CALL bump(5); SELECT count(*) = 1 FROM t WHERE c = 6",
        ],
    },
    Kind {
        name: "functions_as",
        setup: "CREATE TABLE t (other integer, c integer);
                --
                CREATE FUNCTION found(OUT c bigint) LANGUAGE sql BEGIN ATOMIC SELECT t.c FROM t WHERE t.c = 20; END;
                CREATE PROCEDURE bump(y integer) LANGUAGE sql BEGIN ATOMIC INSERT INTO t (c) VALUES (y); END",
        to: "bigint, as: c_wide",
        by_hand: "",
        holds: &["CALL bump(5); SELECT found() = 20 AND count(*) = 1 FROM t WHERE c_wide = 5"],
    },
    Kind {
        name: "materialized",
        setup: MATERIALIZED,
        to: "bigint",
        by_hand: "",
        holds: FILLED,
    },
    Kind {
        name: "materialized_as",
        setup: MATERIALIZED,
        to: "bigint, as: c_wide",
        by_hand: "",
        holds: FILLED,
    },
];

/// They were made before there was a row.
const FILLED: &[&str] = &[
    "SELECT (SELECT sum(total) FROM totals) = sum(lower.c) AND (SELECT number FROM beside LIMIT 1) = 10 AND highest() > 400 FROM lower",
    "SELECT NOT relispopulated FROM pg_class WHERE oid = 'empty'::regclass",
    "SELECT count(*) > 0 FROM pg_stats WHERE tablename = 'totals' AND schemaname = current_schema()",
    "REFRESH MATERIALIZED VIEW CONCURRENTLY totals; SELECT true",
];

/// The same change by hand.
fn by_hand(kind: &Kind) -> String {
    if kind.setup != WRITTEN {
        let Some((table, rest)) = kind.setup.split_once("--") else {
            return kind.by_hand.to_owned();
        };
        let (table, rest) = match kind.to.contains("as:") {
            true => (
                table.replace("c integer", "c_wide bigint"),
                rest.replace("SELECT t.c ", "SELECT t.c_wide AS c ")
                    .replace("SELECT t.c,", "SELECT t.c_wide AS c,")
                    .replace("t.c =", "t.c_wide =")
                    .replace("t.c %", "t.c_wide %")
                    .replace("t.c >", "t.c_wide >")
                    .replace("max(t.c)", "max(t.c_wide)")
                    .replace("t (c)", "t (c_wide)"),
            ),
            false => (table.replace("c integer", "c bigint"), rest.to_owned()),
        };
        let schema = kind.name;
        return format!(
            "DROP SCHEMA {schema} CASCADE; CREATE SCHEMA {schema};\n{table}{rest};\n{}",
            kind.by_hand
        );
    }
    let (table, rest) = WRITTEN.split_once("--").expect("there is a line between");
    let gone = format!(
        "DROP PUBLICATION IF EXISTS {}; DROP VIEW upper, lower; DROP TABLE t, log; DROP FUNCTION watch()",
        kind.name
    );
    // A view's own column keeps its name.
    let rest = match kind.to.contains("as:") {
        false => rest.to_owned(),
        true => rest
            .replace("(c >", "(c_wide >")
            .replace("(c <", "(c_wide <")
            .replace("other, c ON", "other, c_wide ON")
            .replace("(other, c)", "(other, c_wide)")
            .replace("NEW.c", "NEW.c_wide")
            .replace("OLD.c", "OLD.c_wide")
            .replace("SELECT t.c,", "SELECT t.c_wide AS c,")
            .replace("t.c ", "t.c_wide "),
    };
    let column = match kind.to.contains("as:") {
        false => "c bigint);\n    CREATE TABLE log",
        true => "c_wide bigint);\n    CREATE TABLE log",
    };
    let table = table.replace("c integer);\n    CREATE TABLE log", column);
    format!("{gone}; {table}; {rest}")
}

fn schemas(kinds: &[Kind], of: impl Fn(&Kind) -> String) -> String {
    let each = kinds.iter().map(|kind| {
        let of = of(kind).replace("{name}", kind.name);
        format!("SET search_path = {}, public;\n{of};\n", kind.name)
    });
    each.collect::<String>() + "RESET search_path"
}

fn setup(kinds: &[Kind]) -> String {
    let made: String = kinds
        .iter()
        .map(|kind| format!("CREATE SCHEMA {};\n", kind.name))
        .collect();
    made + &schemas(kinds, |kind| {
        let fill = match kind.name {
            "texts" | "settings" => {
                "INSERT INTO t (c) SELECT 'n' || g FROM generate_series(1, 60) g"
            }
            "foreign_keys" => "INSERT INTO t (part, c) SELECT g, g FROM generate_series(1, 90) g",
            _ => "INSERT INTO t (c) SELECT g FROM generate_series(20, 90) g",
        };
        format!("{};\n{fill}", kind.setup)
    })
}

/// All of it goes in one cutover, which nothing here waits for.
const LIMITS: &str = "limits: {max_lock_duration: 20s}";

fn operations(kinds: &[Kind]) -> String {
    let each = kinds.iter().map(|kind| {
        format!(
            "- change_type: {{table: {}.t, column: c, to: {}}}\n",
            kind.name, kind.to
        )
    });
    each.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_carried_over() {
    carried_over(KINDS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_so_is_whatever_reads_it() {
    carried_over(READERS).await;
}

async fn carried_over(kinds: &[Kind]) {
    for version in crate::versions() {
        let scene = Scene::new(version, &setup(kinds)).await;
        scene
            .completed(&plan("all", LIMITS, &operations(kinds)))
            .await;
        for kind in kinds {
            scene
                .sql(&format!("SET search_path = {}, public", kind.name))
                .await;
            for query in kind.holds {
                assert_eq!(scene.text(query).await, "t", "{}: {query}", kind.name);
            }
        }
        scene.sql("RESET search_path").await;
        scene.clean().await;
        let hand = Scene::new(version, &setup(kinds)).await;
        hand.sql(&schemas(kinds, by_hand)).await;
        let differences = hand
            .catalog_but_key_triggers()
            .await
            .differences(&scene.catalog_but_key_triggers().await);
        assert!(differences.is_empty(), "{version}: {differences:#?}");
        hand.end().await;
        scene.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn and_given_back_by_a_rollback() {
    given_back(KINDS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_so_is_whatever_reads_it_by_a_rollback() {
    given_back(READERS).await;
}

/// From as far as a rollback can be, everything is what it was.
async fn given_back(kinds: &[Kind]) {
    for version in crate::versions() {
        let scene = Scene::new(version, &setup(kinds)).await;
        let (before, text) = (scene.catalog_but_key_triggers().await, scene.dumped().await);
        let path = scene.pontoon.plan(&plan("all", LIMITS, &operations(kinds)));
        let ended = scene
            .pontoon
            .call(&["run", &path, "--output", "json"])
            .await;
        assert_eq!(ended.code, Some(5), "{}\n{}", ended.stdout, ended.stderr);
        scene.killed_before_the_last_step(&path).await;
        scene.pontoon.call(&["rollback", "--yes"]).await.expect(0);
        scene.clean().await;
        let differences = before.differences(&scene.catalog_but_key_triggers().await);
        assert!(differences.is_empty(), "{version}: {differences:#?}");
        assert_eq!(text, scene.dumped().await);
        scene.end().await;
    }
}

/// What somebody adds or changes while a run stands at its gate would be lost
/// with the old column: the cutover is refused until it is as it was.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_meanwhile_is_not_lost() {
    const VIEW: &str = "CREATE OR REPLACE VIEW seen AS SELECT c FROM t WHERE c > 1";
    for version in crate::versions() {
        let scene = Scene::new(
            version,
            &format!(
                "CREATE TABLE t (id integer, c integer); {VIEW};
                 INSERT INTO t SELECT g, g FROM generate_series(1, 50) g"
            ),
        )
        .await;
        let path = scene.pontoon.plan(&plan(
            "meanwhile",
            "",
            "- change_type: {table: t, column: c, to: bigint}",
        ));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        for (change, back, told) in [
            ("CREATE INDEX added ON t (c)", "DROP INDEX added", "added"),
            (
                "GRANT SELECT ON seen TO pg_monitor",
                "REVOKE ALL ON seen FROM pg_monitor",
                "seen",
            ),
            (
                "CREATE OR REPLACE VIEW seen AS SELECT c FROM t WHERE c > 2",
                VIEW,
                "seen",
            ),
        ] {
            scene.sql(change).await;
            let ended = scene.pontoon.approved(&path).await;
            assert_ne!(ended.code, Some(0), "{change}: {}", ended.stdout);
            assert!(ended.stderr.contains(told), "{change}: {}", ended.stderr);
            scene.sql(back).await;
        }
        scene
            .sql("DROP VIEW seen; CREATE VIEW seen AS SELECT c FROM t WHERE c > 1")
            .await;
        let ended = scene.pontoon.call(&["run", &path]).await;
        assert_ne!(ended.code, Some(0), "{}", ended.stdout);
        scene.pontoon.call(&["rollback", "--yes"]).await.expect(0);
        scene.clean().await;
        scene.end().await;
    }
}

/// The process dies at the end of every step, and somebody refreshes in between:
/// what is shown in the end is as new as what was there.
#[tokio::test(flavor = "multi_thread")]
async fn materialized_views_are_filled_again() {
    for version in crate::versions() {
        let scene = Scene::new(
            version,
            "CREATE TABLE t (id integer PRIMARY KEY, c integer);
             INSERT INTO t SELECT g, 1 FROM generate_series(1, 50) g;
             CREATE MATERIALIZED VIEW summed AS SELECT sum(c) AS sum FROM t;
             CREATE MATERIALIZED VIEW later AS SELECT max(c) AS max FROM t WITH NO DATA;
             CREATE MATERIALIZED VIEW kept AS SELECT id, c FROM t;
             CREATE UNIQUE INDEX kept_id ON kept (id)",
        )
        .await;
        let path = scene.pontoon.plan(&plan(
            "refreshed",
            "",
            "- change_type: {table: t, column: c, to: bigint}",
        ));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        // Everything is filled, and the old ones are refreshed after that.
        scene.killed_before_the_last_step(&path).await;
        scene
            .sql(
                "UPDATE t SET c = 2; REFRESH MATERIALIZED VIEW summed; REFRESH MATERIALIZED VIEW later;
                 REFRESH MATERIALIZED VIEW CONCURRENTLY kept",
            )
            .await;
        let ended = scene.pontoon.call(&["run", &path]).await.expect(0);
        let told = ended.stdout + &ended.stderr;
        assert!(told.contains("was refreshed after"), "{told}");
        assert!(told.contains("was filled in an earlier sitting"), "{told}");
        assert_eq!(scene.text("SELECT sum FROM summed").await, "100");
        assert_eq!(scene.text("SELECT max FROM later").await, "2");
        assert_eq!(scene.text("SELECT sum(c) FROM kept").await, "100");
        scene.clean().await;
        scene.end().await;
    }
}

/// Wherever it dies, a run goes on to the same end.
#[tokio::test(flavor = "multi_thread")]
async fn killed_between_any_two_steps() {
    for version in crate::versions() {
        let setup = format!(
            "CREATE SCHEMA k; SET search_path = k; {};
             INSERT INTO t (c) SELECT g FROM generate_series(20, 90) g; RESET search_path",
            MATERIALIZED.replace("{name}", "k")
        );
        let scene = Scene::new(version, &setup).await;
        let path = scene.pontoon.plan(&plan(
            "killed",
            "",
            "- change_type: {table: k.t, column: c, to: bigint}",
        ));
        let kills = scene.killed_at_steps(&path, 1).await;
        assert!(kills > 8, "{kills}");
        scene.sql("SET search_path = k").await;
        for query in FILLED {
            assert_eq!(scene.text(query).await, "t", "{query}");
        }
        scene.sql("RESET search_path").await;
        scene.clean().await;
        scene.end().await;
    }
}

/// What cannot follow is named before anything is changed.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_follow_is_named() {
    for version in crate::versions() {
        let scene = Scene::new(
            version,
            "CREATE TABLE t (id integer PRIMARY KEY, c integer, d integer, e integer, f integer);
             CREATE FUNCTION doubled() RETURNS SETOF integer LANGUAGE sql BEGIN ATOMIC SELECT t.c FROM t; END;
             CREATE MATERIALIZED VIEW patterns AS SELECT t.d FROM t;
             CREATE INDEX half ON patterns ((d / 2));
             CREATE MATERIALIZED VIEW measured AS SELECT t.e, t.id FROM t;
             CREATE STATISTICS tied ON e, id FROM measured;
             CREATE MATERIALIZED VIEW typed AS SELECT t.f FROM t;
             CREATE FUNCTION of_rows(typed) RETURNS integer LANGUAGE sql RETURN 1",
        )
        .await;
        let before = scene.catalog().await;
        for (column, to, told) in [
            ("c", "text", "function public.doubled()"),
            (
                "d",
                "text",
                "materialized view public.patterns does not go with type text: ",
            ),
            ("e", "bigint", "statistics object tied depends on it"),
            ("f", "bigint", "depends on it"),
        ] {
            let path = scene.pontoon.plan(&plan(
                &format!("no_{column}"),
                "",
                &format!("- change_type: {{table: t, column: {column}, to: {to}}}"),
            ));
            let ended = scene.pontoon.call(&["run", &path]).await;
            assert_ne!(ended.code, Some(0), "{column}: {}", ended.stdout);
            assert!(ended.stderr.contains(told), "{column}: {}", ended.stderr);
            let differences = before.differences(&scene.catalog().await);
            assert!(differences.is_empty(), "{column}: {differences:#?}");
        }
        scene.end().await;
    }
}
