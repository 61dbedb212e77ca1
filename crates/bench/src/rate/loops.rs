//! What people write by hand: batches along the key.

use pontoon_sandbox::Server;
use tokio::process::Command;
use tokio_postgres::Client;

use crate::Error;
use crate::server::TURN;
use crate::table::{Table, Work};

/// Rows of a batch, as Pontoon's own `max_batch_rows` by default.
const ROWS: u32 = 10_000;

/// The key's columns, and variables of the same number with a prefix.
fn lists(table: &Table, prefix: &str) -> (String, String) {
    let columns = table.key_columns();
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let variables: Vec<String> = names.iter().map(|name| format!("{prefix}{name}")).collect();
    (names.join(", "), variables.join(", "))
}

/// A procedure that commits after each batch.
pub(super) async fn plpgsql(client: &Client, table: &Table, work: Work) -> Result<(), Error> {
    let (names, last) = lists(table, "last_");
    let (_, next) = lists(table, "next_");
    let declarations: String = table
        .key_columns()
        .iter()
        .map(|(name, kind)| format!("last_{name} {kind}; next_{name} {kind};\n"))
        .collect();
    let set = work.set();
    let skip = ROWS - 1;
    let first = table.key_columns()[0].0;
    client
        .batch_execute(&format!(
            "DO $$
             DECLARE
                 {declarations}
             BEGIN
                 SELECT {names} INTO {last} FROM users ORDER BY {names} LIMIT 1;
                 LOOP
                     SELECT {names} INTO {next} FROM users
                     WHERE ({names}) >= ({last}) ORDER BY {names} OFFSET {skip} LIMIT 1;
                     IF next_{first} IS NULL THEN
                         UPDATE users SET {set} WHERE ({names}) >= ({last});
                         COMMIT;
                         EXIT;
                     END IF;
                     UPDATE users SET {set} WHERE ({names}) >= ({last}) AND ({names}) < ({next});
                     COMMIT;
                     SELECT {next} INTO {last};
                 END LOOP;
             END $$"
        ))
        .await?;
    Ok(())
}

/// A shell script: each batch is a psql that tells where the next one begins.
pub(super) async fn psql(server: &Server, table: &Table, work: Work) -> Result<(), Error> {
    let (names, _) = lists(table, "");
    let set = work.set();
    let url = server.url(TURN);
    let mut from = String::new();
    loop {
        let lower = if from.is_empty() {
            String::new()
        } else {
            format!("WHERE ({names}) >= ({from})")
        };
        let and = if from.is_empty() { "WHERE" } else { "AND" };
        let texts: Vec<String> = table
            .key_columns()
            .iter()
            .map(|(name, kind)| format!("quote_literal({name}) || '::{kind}'"))
            .collect();
        let find = format!(
            "SELECT concat_ws(', ', {}) FROM (SELECT {names} FROM users {lower} ORDER BY {names} OFFSET {ROWS} LIMIT 1) AS found",
            texts.join(", ")
        );
        let next = run(&url, &find).await?;
        let upper = if next.is_empty() {
            String::new()
        } else {
            format!("{and} ({names}) < ({next})")
        };
        run(&url, &format!("UPDATE users SET {set} {lower} {upper}")).await?;
        if next.is_empty() {
            return Ok(());
        }
        from = next;
    }
}

async fn run(url: &str, statement: &str) -> Result<String, Error> {
    let output = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
        .args(["--set", "ON_ERROR_STOP=1", "--dbname", url])
        .args(["--command", statement])
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("cannot run psql: {error}"))?;
    if !output.status.success() {
        return Err(format!("psql failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
