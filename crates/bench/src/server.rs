//! The server, and a database for each turn.

use pontoon_sandbox::{Server, ServerSpec};
use tokio_postgres::Client;

use crate::Error;
use crate::args::Arguments;
use crate::table::Table;

/// The database that every turn gets a copy of.
const ORIGINAL: &str = "original";
/// The copy.
pub(crate) const TURN: &str = "turn";

/// Log files to write over, of 16 MB.
const LOG_FILES: u32 = 192;

/// A durable server. Unless it shall be as it comes out of the box, its cache
/// holds the tables of the quick grid and no checkpoint or vacuum comes in
/// between, so that contestants differ by what they do.
pub(crate) async fn start(arguments: &Arguments) -> Result<Server, Error> {
    let mut spec = ServerSpec {
        version: arguments.version,
        durable: true,
        ..ServerSpec::default()
    };
    if !arguments.stock {
        spec = spec
            .setting("shared_buffers", "'1GB'")
            .setting("max_wal_size", "'16GB'")
            .setting("min_wal_size", "'4GB'")
            .setting("checkpoint_timeout", "'60min'")
            .setting("autovacuum", "off");
    }
    let server = Server::start(spec).await?;
    if !arguments.stock {
        leave_log_files(&server).await?;
    }
    Ok(server)
}

/// Leaves log files to write over, as a server has that has been up for a
/// while. A new one is filled with zeros first, and whoever commits meanwhile
/// waits.
async fn leave_log_files(server: &Server) -> Result<(), Error> {
    let admin = server.client("postgres").await?;
    for _ in 0..LOG_FILES {
        admin
            .batch_execute(
                "SELECT pg_logical_emit_message(true, 'bench', ''); SELECT pg_switch_wal()",
            )
            .await?;
    }
    // The first one makes the files old, the second one renames them.
    admin.batch_execute("CHECKPOINT").await?;
    admin.batch_execute("CHECKPOINT").await?;
    Ok(())
}

/// Makes the table that the turns begin with.
pub(crate) async fn original(server: &Server, table: &Table) -> Result<(), Error> {
    recreate(server, ORIGINAL, "template1").await?;
    let client = server.client(ORIGINAL).await?;
    client.batch_execute(&table.create()).await?;
    settle(&client).await
}

/// A new copy of it.
pub(crate) async fn turn(server: &Server) -> Result<Client, Error> {
    recreate(server, TURN, ORIGINAL).await?;
    Ok(server.client(TURN).await?)
}

async fn recreate(server: &Server, name: &str, template: &str) -> Result<(), Error> {
    let admin = server.client("postgres").await?;
    admin
        .batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        .await?;
    admin
        .batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template}"))
        .await?;
    Ok(())
}

/// Bytes of the table and its indexes in the original, and in the copy.
pub(crate) async fn sizes(server: &Server) -> Result<(f64, f64), Error> {
    let size = async |name: &str| {
        let client = server.client(name).await?;
        let row = client
            .query_one("SELECT pg_total_relation_size('users')::float8", &[])
            .await?;
        Ok::<f64, Error>(row.get(0))
    };
    Ok((size(ORIGINAL).await?, size(TURN).await?))
}

/// Brings a copy into the state that each turn begins with.
pub(crate) async fn settle(client: &Client) -> Result<(), Error> {
    client.batch_execute("VACUUM (ANALYZE) users").await?;
    client.batch_execute("CHECKPOINT").await?;
    Ok(())
}
