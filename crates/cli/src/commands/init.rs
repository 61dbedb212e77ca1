//! `pontoon init`.

use pontoon_engine::db::Database;
use pontoon_engine::db::postgres::init_sql;

use crate::context::Context;
use crate::error::Result;
use crate::exit::Exit;
use crate::session;

/// Create Pontoon's own schema, or print the SQL for it
///
/// `run` does this by itself when it may. A cautious DBA prints the SQL,
/// reads it, and runs it by hand; the role that runs migrations then needs no
/// right to create schemas.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print the SQL and change nothing
    #[arg(long)]
    print_sql: bool,

    /// Role of the application, from which every right on that schema is taken away
    #[arg(long, value_name = "ROLE")]
    app_role: Option<String>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result {
    let app_role = args.app_role.as_deref();
    if args.print_sql {
        let sql = init_sql(app_role);
        if context.output.is_json() {
            context.output.json(&serde_json::json!({ "sql": sql }));
        } else {
            context.output.text(&sql);
        }
        return Ok(Exit::Done);
    }
    session::ask(context, None, async |db| {
        db.init(app_role).await?;
        if context.output.is_json() {
            context
                .output
                .json(&serde_json::json!({ "initialized": true }));
        } else {
            context.output.note("Pontoon's schema is in place.");
        }
        Ok(Exit::Done)
    })
}
