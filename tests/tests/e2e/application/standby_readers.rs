//! A hot standby with a long reader: strong locks wait for it, or the plan
//! says that it knows.

use std::time::Duration;

use pontoon_sandbox::{Server, ServerSpec, StandbySpec};
use pontoon_tests::Pontoon;

use crate::scene::{plan, run, text, wait_until};

const ITEMS: &str =
    "CREATE TABLE items (id integer PRIMARY KEY, amount integer NOT NULL, note text);
     CREATE TABLE news (id integer);
     INSERT INTO items SELECT g, g FROM generate_series(1, 3000) g; ANALYZE items";
const RETYPE: &str = "- change_type: {table: items, column: amount, to: numeric, as: exact}";

#[tokio::test(flavor = "multi_thread")]
async fn a_long_reader_on_a_standby_is_waited_for_or_acknowledged() {
    for version in crate::versions() {
        let server = Server::start(ServerSpec::version(version))
            .await
            .expect("a server");
        let url = server.create_database("shop").await.expect("a database");
        let client = pontoon_sandbox::connect(&url).await.expect("a connection");
        run(&client, ITEMS).await;
        // Replay would wait for readers for ever. (The one below is between two
        // statements: it holds a lock and no snapshot, which replay would wait
        // for as well whenever dead rows are cleaned up.)
        let spec = StandbySpec::new("eu_2").setting("max_standby_streaming_delay", "-1");
        let standby = server.standby(spec).await.expect("a standby");
        standby.catch_up(&server).await.expect("it catches up");
        let pontoon = Pontoon::new(url.as_str());

        let path = pontoon.plan(&plan("shy", "", RETYPE));
        for verb in ["run", "preview"] {
            let ended = pontoon.call(&[verb, &path]).await.expect(4);
            for part in ["eu_2", "--replica-url", "acknowledge: [standby]"] {
                assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
            }
        }
        let left = "SELECT to_regnamespace('pontoon') IS NULL";
        assert_eq!(text(&client, left).await, "t", "nothing was changed");

        // An address that leads to the primary watches nobody.
        let ended = pontoon
            .call(&["run", &path, "--replica-url", &url])
            .await
            .expect(4);
        assert!(ended.stderr.contains("no standby"), "{}", ended.stderr);
        assert!(
            !ended.stderr.contains(server.password()),
            "{}",
            ended.stderr
        );

        let reader = standby.client("shop").await.expect("a reader");
        run(
            &reader,
            "SET application_name = 'report'; BEGIN; SELECT count(*) FROM items",
        )
        .await;
        tokio::time::sleep(Duration::from_millis(900)).await;
        let replica = standby.url("shop");

        // Within patience, and no longer.
        let hasty = pontoon.plan(&plan("polite", "limits: {lock_patience: 1500ms}", RETYPE));
        let ended = pontoon
            .call(&["run", &hasty, "--replica-url", &replica])
            .await
            .expect(8);
        assert!(ended.stderr.contains("standby"), "{}", ended.stderr);

        let path = pontoon.plan(&plan("polite", "", RETYPE));
        let mut running = pontoon.spawn_with(
            &["run", &path],
            &[("REPLICA_URLS", replica.as_str()), ("DATABASE_URL", &url)],
        );
        let waits = running
            .until(|record| {
                record["event"] == "lock_waiting"
                    && record["blockers"]
                        .as_array()
                        .is_some_and(|blockers| !blockers.is_empty())
            })
            .await
            .expect("the reader is waited for");
        let blocker = &waits["blockers"][0];
        assert_eq!(blocker["application"], "report", "{waits}");
        assert!(
            blocker["relation"]
                .as_str()
                .is_some_and(|relation| relation.starts_with("public.items on standby ")),
            "{waits}"
        );
        // Nobody is stalled: replay goes on, new readers come and go.
        run(&client, "INSERT INTO news VALUES (1)").await;
        let other = standby.client("shop").await.expect("another reader");
        wait_until("the standby replays", async || {
            text(&other, "SELECT count(*) FROM news").await == "1"
        })
        .await;
        assert_eq!(text(&other, "SELECT count(*) FROM items").await, "3000");
        run(&reader, "COMMIT").await;
        running.wait().await.0.expect(5);
        assert_eq!(
            text(&client, "SELECT count(exact) FROM items").await,
            "3000"
        );
        // No long reader was there; nobody was cancelled.
        let conflicts = "SELECT sum(confl_lock) FROM pg_stat_database_conflicts";
        assert_eq!(text(&other, conflicts).await, "0");
        pontoon.call(&["rollback", "--yes"]).await.expect(0);

        let path = pontoon.plan(&plan("bold", "acknowledge: [standby]", RETYPE));
        pontoon.call(&["run", &path]).await.expect(5);
    }
}
