//! Without a superuser: as a role that owns the tables, with the schema made
//! by itself or by a DBA, without `pg_monitor`; the application has nothing
//! but DML on its table.

use pontoon_sandbox::app::{App, AppOptions, models};
use pontoon_tests::Pontoon;

use crate::scene::{Scene, code, journey, plan, text, traffic};

const ROWS: u64 = 1_500;

/// Roles belong to the server, so each test has its own.
struct Roles {
    owner: String,
    migrator: String,
    app: String,
}

/// A schema `sales` that the owner owns, a migrating role that is a member of
/// the owner's, and an application's role.
async fn scene(version: u32) -> (Scene, Roles) {
    let scene = Scene::new(version, "").await;
    let name = scene.database.name();
    let unique = uuid::Uuid::new_v4().simple();
    let roles = Roles {
        owner: format!("owner_{unique}"),
        migrator: format!("migrator_{unique}"),
        app: format!("app \"{unique}\""),
    };
    let Roles {
        owner,
        migrator,
        app,
    } = &roles;
    let app = quoted(app);
    scene
        .sql(&format!(
            "CREATE ROLE {owner} LOGIN; CREATE ROLE {migrator} LOGIN IN ROLE {owner}; CREATE ROLE {app} LOGIN;
             REVOKE ALL ON DATABASE {name} FROM PUBLIC;
             GRANT CONNECT ON DATABASE {name} TO {app};
             GRANT CONNECT, TEMPORARY ON DATABASE {name} TO {owner}, {migrator};
             REVOKE ALL ON SCHEMA public FROM PUBLIC;
             CREATE SCHEMA sales AUTHORIZATION {owner};
             GRANT USAGE ON SCHEMA sales TO {app};
             ALTER DATABASE {name} SET search_path = sales"
        ))
        .await;
    (scene, roles)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The model's table, created by the owner, with DML for the application.
async fn orders(scene: &Scene, roles: &Roles) -> pontoon_sandbox::app::Model {
    let model = models::orders().in_table("sales", "orders");
    scene.sql(&format!("SET ROLE {}", roles.owner)).await;
    App::install(&model, &scene.client, ROWS)
        .await
        .expect("the model");
    scene
        .sql(&format!(
            "RESET ROLE; GRANT SELECT, INSERT, UPDATE, DELETE ON sales.orders TO {}",
            quoted(&roles.app)
        ))
        .await;
    model
}

/// The migrating role goes all the way while the application writes.
async fn all_the_way(scene: &Scene, roles: &Roles, pontoon: &Pontoon) {
    let model = orders(scene, roles).await;
    // The sandbox's app creates nothing; the new columns are the table's.
    let options: AppOptions = traffic(scene.database.url_as(&roles.app), ROWS);
    let plan = format!(
        "{}limits: {{max_batch_rows: 200}}\n",
        model.plan("as_owner", 1)
    );
    journey(&model, &plan, pontoon, &scene.client, options).await;
    // A second plan goes back, and adds what needs rights of its own.
    let more = plan_more();
    let path = pontoon.plan(&more);
    pontoon.call(&["run", &path]).await.expect(5);
    pontoon.call(&["rollback", "--yes"]).await.expect(0);
    pontoon.approved(&path).await.expect(0);
    scene.clean().await;
}

fn plan_more() -> String {
    plan(
        "more",
        "schema: sales",
        "- create_table: {table: labels, columns: [{name: id, type: bigint}], primary_key: [id]}\n\
         - add_index: {table: orders, name: orders_status, columns: [status]}\n\
         - add_check: {table: orders, name: revised, check: revision >= 0}\n\
         - add_column: {table: orders, column: {name: label, type: bigint}}\n\
         - add_foreign_key: {table: orders, name: orders_label, columns: [label], references: {table: labels, columns: [id]}}\n\
         - set_not_null: {table: orders, column: note, fill: \"''\"}",
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn as_the_owner_who_makes_the_schema() {
    for version in crate::versions() {
        let (scene, roles) = scene(version).await;
        scene
            .sql(&format!(
                "GRANT CREATE ON DATABASE {} TO {}",
                scene.database.name(),
                roles.owner
            ))
            .await;
        let pontoon = Pontoon::new(scene.database.url_as(&roles.owner));
        pontoon.call(&["init"]).await.expect(0);
        pontoon
            .call(&["init", "--app-role", &roles.app])
            .await
            .expect(0);
        all_the_way(&scene, &roles, &pontoon).await;
        scene.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn as_a_member_of_the_owner_with_a_schema_made_by_a_dba() {
    for version in crate::versions() {
        let (scene, roles) = scene(version).await;
        let pontoon = Pontoon::new(scene.database.url_as(&roles.migrator));
        // Without any right to make it, the run says what to do.
        let model = models::orders().in_table("sales", "orders");
        scene.sql(&format!("SET ROLE {}", roles.owner)).await;
        App::install(&model, &scene.client, 10)
            .await
            .expect("the model");
        scene.sql("RESET ROLE").await;
        let path = pontoon.plan(&model.plan("early", 1));
        let ended = pontoon.call(&["run", &path]).await;
        assert_ne!(ended.code, Some(0));
        assert!(
            ended.stderr.contains("init"),
            "it says how to make the schema: {}",
            ended.stderr
        );
        scene.clean().await;
        scene.sql("DROP TABLE sales.orders").await;

        // Printing needs no database at all.
        let nowhere = Pontoon::new("postgresql://127.0.0.1:1/none");
        let sql = nowhere
            .call(&["init", "--print-sql", "--app-role", &roles.app])
            .await
            .expect(0)
            .stdout;
        let dba = scene.database.client().await.expect("a connection");
        dba.batch_execute(&format!(
            "CREATE SCHEMA pontoon AUTHORIZATION {0}; SET ROLE {0}",
            roles.migrator
        ))
        .await
        .expect("the schema");
        // As psql runs a file: all of it, and a second time without harm.
        for _ in 0..2 {
            dba.batch_execute(&sql).await.expect("the printed SQL");
        }
        assert_eq!(
            text(&dba, "SELECT DISTINCT relowner::regrole FROM pg_class WHERE relnamespace = 'pontoon'::regnamespace").await,
            roles.migrator
        );
        all_the_way(&scene, &roles, &pontoon).await;
        scene.end().await;
    }
}

/// The application's role can neither look into our schema nor call what is
/// in it, and writes all the same.
#[tokio::test(flavor = "multi_thread")]
async fn poor_writer() {
    for version in crate::versions() {
        let (scene, roles) = scene(version).await;
        scene
            .sql(&format!(
                "GRANT CREATE ON DATABASE {} TO {}",
                scene.database.name(),
                roles.owner
            ))
            .await;
        let pontoon = Pontoon::new(scene.database.url_as(&roles.owner));
        let model = orders(&scene, &roles).await;
        let path = pontoon.plan(&model.plan("poor", 1));
        pontoon.call(&["run", &path]).await.expect(5);
        let app = pontoon_sandbox::connect(&scene.database.url_as(&roles.app))
            .await
            .expect("a connection");
        for sql in [
            "SELECT * FROM pontoon.run",
            "SELECT * FROM pontoon.lease",
            "SELECT pontoon.run_key('00000000-0000-0000-0000-000000000000')",
            "UPDATE pontoon.run SET state = 'completed'",
        ] {
            assert_eq!(code(&app, sql).await, "42501", "{sql}");
        }
        app.batch_execute(
            "SET search_path = pg_temp, sales;
             CREATE OR REPLACE FUNCTION pg_temp.lower(text) RETURNS text LANGUAGE sql AS $$ SELECT 'garbage' $$;
             INSERT INTO sales.orders (customer, amount) VALUES ('SHOUTING', 5);
             UPDATE sales.orders SET amount = 77 WHERE id = 1",
        )
        .await
        .or_else(|error| match error.code().map(|code| code.code().to_owned()).as_deref() {
            // Without TEMPORARY on the database there is nothing to shadow with.
            Some("42501") => Ok(()),
            _ => Err(error),
        })
        .expect("the application writes");
        app.batch_execute(
            "INSERT INTO sales.orders (customer, amount) VALUES ('SHOUTING', 5);
             UPDATE sales.orders SET amount = 77 WHERE id = 1",
        )
        .await
        .expect("the application writes");
        assert_eq!(
            scene
                .text("SELECT DISTINCT customer_normalized FROM sales.orders WHERE customer = 'SHOUTING'")
                .await,
            "shouting"
        );
        assert_eq!(
            scene
                .text("SELECT amount_exact FROM sales.orders WHERE id = 1")
                .await,
            "77"
        );
        scene.end().await;
    }
}

/// Whoever holds the lock is found without `pg_monitor`, and waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_blocker_is_found_without_pg_monitor() {
    for version in crate::versions() {
        let (scene, roles) = scene(version).await;
        scene
            .sql(&format!(
                "GRANT CREATE ON DATABASE {} TO {}",
                scene.database.name(),
                roles.owner
            ))
            .await;
        orders(&scene, &roles).await;
        let holder = scene.database.client().await.expect("a connection");
        holder
            .batch_execute("BEGIN; SELECT count(*) FROM sales.orders")
            .await
            .expect("a lock is held");
        let pontoon = Pontoon::new(scene.database.url_as(&roles.owner));
        let path = pontoon.plan(&plan(
            "blocked",
            "schema: sales",
            "- add_column: {table: orders, column: {name: extra, type: text}}",
        ));
        let mut running = pontoon.spawn(&["run", &path]);
        let waiting = running
            .event("lock_waiting")
            .await
            .expect("the run says that it waits");
        let pid = text(&holder, "SELECT pg_backend_pid()").await;
        assert_eq!(waiting["blockers"][0]["pid"].to_string(), pid, "{waiting}");
        holder.batch_execute("COMMIT").await.expect("released");
        let (ended, _) = running.wait().await;
        ended.expect(0);
        scene.end().await;
    }
}
