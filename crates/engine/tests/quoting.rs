//! Names, literals and dollar-quoted texts come back from a real server as
//! they went in.

use pontoon_core::sql::quote::{dollar_quote, quote_ident, quote_literal};
use pontoon_sandbox::TestDatabase;
use proptest::prelude::{Strategy, prop, proptest};
use proptest::test_runner::{Config, TestRunner};
use tokio_postgres::{Client, SimpleQueryMessage};

/// The characters that quoting has to fear, and some others.
fn text() -> impl Strategy<Value = String> {
    let feared = prop::sample::select(vec![
        "'", "\"", "\\", "$", "$body", "$body$", "\n", "é", "E'", "--", "/*",
    ]);
    prop::collection::vec(
        proptest::prop_oneof![
            feared.prop_map(str::to_owned),
            "[a-zA-Z0-9_ .;\u{1}-\u{20}€]{0,3}"
        ],
        0..8,
    )
    .prop_map(|parts| parts.concat())
}

async fn first(client: &Client, sql: &str) -> Result<(String, String), tokio_postgres::Error> {
    for message in client.simple_query(sql).await? {
        if let SimpleQueryMessage::Row(row) = message {
            let name = row.columns()[0].name().to_owned();
            return Ok((name, row.get(0).unwrap_or_default().to_owned()));
        }
    }
    Ok((String::new(), String::new()))
}

#[test]
fn quoted_texts_come_back_as_they_went_in() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let database = runtime
        .block_on(TestDatabase::create(None))
        .expect("a database");
    let client = runtime.block_on(database.client()).expect("a session");
    let mut runner = TestRunner::new(Config::with_cases(400));
    runner
        .run(&(text(), proptest::bool::ANY), |(text, conforming)| {
            let name: String = format!("n{text}").chars().take(20).collect();
            let back = runtime.block_on(async {
                let setting = if conforming { "on" } else { "off" };
                client
                    .batch_execute(&format!("SET standard_conforming_strings = {setting}"))
                    .await?;
                let literal = quote_literal(&text);
                let ident = quote_ident(&name);
                let (ident, literal) =
                    first(&client, &format!("SELECT {literal} AS {ident}")).await?;
                let dollars = dollar_quote("body", &text);
                let (_, dollars) = first(&client, &format!("SELECT {dollars}")).await?;
                Ok::<_, tokio_postgres::Error>((ident, literal, dollars))
            });
            let (ident, literal, dollars) = back.expect("valid SQL");
            proptest::prop_assert_eq!(ident, name);
            proptest::prop_assert_eq!(literal, text.clone());
            proptest::prop_assert_eq!(dollars, text);
            Ok(())
        })
        .expect("every text comes back");
}

proptest! {
    #[test]
    fn a_name_never_ends_its_quotes(name in ".{0,40}") {
        let quoted = quote_ident(&name);
        let inner = &quoted[1..quoted.len() - 1];
        proptest::prop_assert_eq!(inner.replace("\"\"", "").matches('"').count(), 0);
        proptest::prop_assert_eq!(inner.replace("\"\"", "\""), name);
    }
}
