//! Partitions that are dropped or detached while a run lasts, as whoever keeps
//! events by the day does every night.

use std::collections::BTreeSet;

use crate::scene::{Scene, plan};

/// Partitions of the table, `events_0` and on.
const PARTITIONS: usize = 6;

fn setup() -> String {
    let partitions: String = (0..PARTITIONS)
        .map(|no| {
            let (from, to) = (no * 100, no * 100 + 100);
            format!(
                "CREATE TABLE events_{no} PARTITION OF events FOR VALUES FROM ({from}) TO ({to});\n"
            )
        })
        .collect();
    format!(
        "CREATE TABLE customers (id bigint PRIMARY KEY);
         CREATE TABLE events (at integer NOT NULL, what text, customer integer) PARTITION BY RANGE (at);
         {partitions}
         INSERT INTO customers SELECT g FROM generate_series(0, 99) g;
         INSERT INTO events SELECT g, 'n', g % 100 FROM generate_series(0, {PARTITIONS} * 100 - 1) g;
         ANALYZE"
    )
}

/// What makes a column that is replaced carry an index and a foreign key.
const CARRIED: &str = "
    ALTER TABLE events ADD CONSTRAINT events_customer FOREIGN KEY (customer) REFERENCES customers;
    CREATE INDEX events_by_customer ON events (customer, at)";
const REPLACED: &str = "- change_type: {table: events, column: customer, to: bigint}";
const ADDED: &str = "- add_index: {table: events, name: events_by_customer, columns: [customer, at]}
- add_foreign_key: {table: events, name: events_customer, columns: [customer], references: {table: customers, columns: [id]}}
- add_unique: {table: events, name: events_once, columns: [at, customer]}";
/// The key that is added as well.
const KEY: &str = "ALTER TABLE events ADD CONSTRAINT events_once UNIQUE (at, customer)";

/// What there is at the end, and what it is made of, whatever partitions are left.
const SHAPE: &str = "
    SELECT string_agg(line, E'\\n') FROM (SELECT concat_ws('; ', c.relname, i.indisvalid, pg_get_indexdef(i.indexrelid)) FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid WHERE indrelid::regclass::text LIKE 'events%'
    UNION ALL
    SELECT concat_ws('; ', conrelid::regclass, conname, convalidated, conparentid <> 0, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE contype = 'f' AND conrelid::regclass::text LIKE 'events%'
    UNION ALL
    SELECT concat_ws('; ', attrelid::regclass, attname, atttypid::regtype)
    FROM pg_attribute WHERE attrelid::regclass::text LIKE 'events%' AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT md5(string_agg(concat_ws(',', at, what, customer), '|' ORDER BY at)) FROM events) AS lines (line)";

/// Takes the partition of this number away: it is dropped, detached, or another
/// one comes in its place under its name.
async fn goes(scene: &Scene, no: usize) {
    let statements = match no % 3 {
        0 => format!("DROP TABLE events_{no}"),
        1 => format!("ALTER TABLE events DETACH PARTITION events_{no}"),
        _ => made_again(no),
    };
    scene.sql(&statements).await;
}

fn made_again(no: usize) -> String {
    let (from, to) = (no * 100, no * 100 + 100);
    format!(
        "DROP TABLE events_{no};
         CREATE TABLE events_{no} PARTITION OF events FOR VALUES FROM ({from}) TO ({to})"
    )
}

/// One that was detached keeps what it had got; here nobody wants it any more.
async fn forget_detached(scene: &Scene, until: usize) {
    for no in (1..until).step_by(3) {
        scene.sql(&format!("DROP TABLE events_{no}")).await;
    }
}

/// Where the same partitions went before the change.
async fn without_them(scene: &Scene, until: usize) {
    for no in 0..until {
        match no % 3 {
            2 => scene.sql(&made_again(no)).await,
            _ => scene.sql(&format!("DROP TABLE events_{no}")).await,
        }
    }
}

/// Some step after the other loses a partition, before or behind its turn.
#[tokio::test(flavor = "multi_thread")]
async fn some_go_at_every_other_step() {
    for version in crate::versions() {
        for (more, operations) in [(CARRIED, REPLACED), ("", ADDED)] {
            let scene = Scene::new(version, &format!("{};{more}", setup())).await;
            let keys = "limits: {max_batch_rows: 100}";
            let path = scene.pontoon.plan(&plan("nightly", keys, operations));
            let (mut no, mut gone) = (1, 0);
            loop {
                let ended = scene.killed_at(&path, &format!("step.{no}.end")).await;
                match ended.code {
                    None => no += 5,
                    Some(0) => break,
                    code => panic!(
                        "{code:?} after step {no}\n{}\n{}",
                        ended.stdout, ended.stderr
                    ),
                }
                if gone < PARTITIONS - 2 {
                    goes(&scene, gone).await;
                    gone += 1;
                }
            }
            assert_eq!(gone, PARTITIONS - 2, "{version}: killed until step {no}");
            forget_detached(&scene, gone).await;
            scene.clean().await;

            let hand = Scene::new(version, &setup()).await;
            without_them(&hand, gone).await;
            let changed = match more {
                "" => format!("{CARRIED}; {KEY}"),
                _ => format!("{more}; ALTER TABLE events ALTER customer TYPE bigint"),
            };
            hand.sql(&changed).await;
            // Parts that we build are called after the table's index.
            let lines = |shape: String| {
                let shape = match more {
                    "" => shape
                        .replace("_events_by_customer", "_customer_at_idx")
                        .replace("_events_once", "_at_customer_key"),
                    _ => shape,
                };
                let lines: BTreeSet<String> = shape.split('\n').map(str::to_owned).collect();
                lines
            };
            assert_eq!(
                lines(scene.text(SHAPE).await),
                lines(hand.text(SHAPE).await)
            );
            hand.end().await;
            scene.end().await;
        }
    }
}

/// As far as a rollback can come from, with partitions that go before it and in
/// its middle.
#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_without_them() {
    for version in crate::versions() {
        for (more, operations) in [(CARRIED, REPLACED), ("", ADDED)] {
            let scene = Scene::new(version, &format!("{};{more}", setup())).await;
            let hand = Scene::new(version, &format!("{};{more}", setup())).await;
            let path = scene.pontoon.plan(&plan("nightly", "", operations));
            scene.pontoon.call(&["run", &path]).await.expect(5);
            scene.killed_before_the_last_step(&path).await;
            for no in 0..3 {
                goes(&scene, no).await;
            }
            scene.pontoon.call(&["rollback", "--yes"]).await.expect(0);
            forget_detached(&scene, 3).await;
            without_them(&hand, 3).await;
            let differences = hand
                .catalog_but_key_triggers()
                .await
                .differences(&scene.catalog_but_key_triggers().await);
            assert!(differences.is_empty(), "{version}: {differences:#?}");
            scene.clean().await;
            hand.end().await;
            scene.end().await;
        }
    }
}
