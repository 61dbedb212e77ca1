//! What a change of type loses, as real servers say it, with extreme values of
//! every type that the table in `pontoon_core::sql::postgres::loss` knows.
//! `PONTOON_TEST_VERSIONS` chooses the servers.

use std::error::Error;

use pontoon_core::expr::{Expr, Volatility};
use pontoon_core::sql::postgres::image::without_modifiers;
use pontoon_core::sql::postgres::loss::{cannot_lose, lost, may_fail, would_lose};
use pontoon_core::sql::postgres::mapping::{pin_text, pins};
use pontoon_core::sql::quote::quote_literal;
use pontoon_core::step::{Back, MappedColumn, Mapping, Rule};
use pontoon_sandbox::{TestDatabase, test_versions};
use tokio_postgres::Client;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Types, and what can be said with them, at their ends above all.
const TYPES: &[(&str, &[&str])] = &[
    ("smallint", &["0", "-32768", "32767"]),
    (
        "integer",
        &["0", "-1", "-2147483648", "2147483647", "16777217", "1", "2"],
    ),
    (
        "bigint",
        &[
            "0",
            "1",
            "-9223372036854775808",
            "9223372036854775807",
            "9007199254740993",
            "9223372036854774784",
            "-9223372036854775807",
        ],
    ),
    (
        "numeric",
        &[
            "0",
            "1.50",
            "-0.0001",
            "1e100",
            "1e-30",
            "NaN",
            "Infinity",
            "-Infinity",
            "9999999999999999.99",
            "0.1",
            "1234567890123.4567",
            "1.7976931348623157e308",
        ],
    ),
    (
        "numeric(12,4)",
        &["0", "1.5000", "1.2345", "-99999999.9999", "NaN"],
    ),
    ("numeric(12,2)", &["1.50", "9999999999.99", "NaN"]),
    ("numeric(15,2)", &["9999999999999.99", "0.01", "-0.10"]),
    ("numeric(6,2)", &["9999.99", "0.01", "-0.10", "1234.56"]),
    ("numeric(9,0)", &["999999999", "-999999999"]),
    (
        "real",
        &[
            "0",
            "-0",
            "NaN",
            "Infinity",
            "3.4028235e38",
            "1e-45",
            "0.1",
            "16777216",
            "0.33333334",
        ],
    ),
    (
        "double precision",
        &[
            "0",
            "-0",
            "NaN",
            "-Infinity",
            "1.7976931348623157e308",
            "-1.7976931348623157e308",
            "5e-324",
            "0.1",
            "0.30000000000000004",
            "9007199254740993",
            "2.5",
            "9.223372036854775e18",
        ],
    ),
    (
        "text",
        &[
            "",
            "a",
            "a ",
            " a",
            "ÄÖ",
            "01234",
            "7",
            "true",
            "yes",
            "2024-02-29",
            "{}",
            "1.50",
        ],
    ),
    ("character varying", &["", "ab", "ab   ", "abcd"]),
    ("character varying(2)", &["", "ab", "a "]),
    ("character varying(4)", &["", "ab", "abcd", "ab  "]),
    ("character(4)", &["", "ab", "abcd"]),
    ("character(2)", &["", "ab", "a"]),
    ("boolean", &["true", "false"]),
    (
        "date",
        &[
            "2024-02-29",
            "4713-01-01 BC",
            "infinity",
            "-infinity",
            "294276-12-31",
            "5874897-12-31",
        ],
    ),
    (
        "timestamp without time zone",
        &[
            "2024-02-29 12:00:00.123456",
            "2024-02-29",
            "infinity",
            "-infinity",
            "294276-12-31 23:59:59.999999",
            "4713-01-01 00:00:00 BC",
        ],
    ),
    (
        "timestamp(3) without time zone",
        &["2024-02-29 12:00:00.123", "2024-02-29 23:59:59.999"],
    ),
    (
        "timestamp with time zone",
        &[
            "2024-02-29 12:00:00.123456+05:30",
            "infinity",
            "294276-12-31 23:59:59.999999+00",
            "2024-03-31 02:30:00+01",
        ],
    ),
    (
        "timestamp(0) with time zone",
        &["2024-02-29 12:00:00+00", "infinity"],
    ),
    (
        "time without time zone",
        &["00:00", "24:00:00", "23:59:59.999999"],
    ),
    ("time(0) without time zone", &["24:00:00", "12:00:01"]),
    ("time with time zone", &["00:00+15:59", "24:00:00-15:59"]),
    (
        "interval",
        &[
            "1 day",
            "24 hours",
            "1 mon -1 day",
            "1 year 2 mons 3.000001 secs",
            "-178000000 years",
        ],
    ),
    ("interval(0)", &["1 day 3 secs"]),
    ("uuid", &["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]),
    ("bytea", &["\\x", "\\x00ff"]),
    ("json", &["{\"b\":1, \"b\":2}", "\"a\"", "null", "1.50"]),
    ("jsonb", &["{\"b\": 1.50, \"aa\": null}", "\"a\"", "null"]),
    ("cidr", &["10.0.0.0/8"]),
    ("inet", &["10.0.0.1/8", "10.0.0.1"]),
    ("name", &["abc"]),
    ("integer[]", &["{1,NULL,2147483647}"]),
    ("numeric(12,4)[]", &["{1.5000,1.2345}", "{1.5}"]),
    ("numeric(12,2)[]", &["{1.50}"]),
    ("text[]", &["{a,\"A \"}", "{}"]),
];

fn column(name: &str, type_name: &str) -> MappedColumn {
    MappedColumn {
        name: name.into(),
        type_name: type_name.into(),
        default: None,
    }
}

fn mapping(from: &str, to: &str) -> Mapping {
    Mapping {
        operation: 0,
        old: vec![column("o", from)],
        new: vec![column("n", to)],
        rule: Rule::Derived {
            up: vec![Expr {
                template: format!("CAST(pontoon_row.o AS {})", without_modifiers(to)),
                columns: vec!["o".into()],
                volatility: Volatility::Stable,
            }],
        },
        required: false,
        back: Some(Back::Cast {
            volatility: Volatility::Stable,
        }),
    }
}

/// Copies the values through the default cast, as far as the server takes them,
/// and tells of each: its text, whether the server's own `=` finds it again by
/// its own cast, whether it is lost, and whether it is said to be lost ahead.
async fn tell(client: &Client, from: &str, values: &[&str], to: &str) -> Outcome<Vec<Told>> {
    let mapping = mapping(from, to);
    let lost = lost(&mapping, "t").ok_or("a mapping with a way back")?;
    let ahead = would_lose(&mapping, "t").ok_or("a mapping with a way back")?;
    let base = without_modifiers(to);
    let inserts: String = values
        .iter()
        .map(|value| {
            format!(
                "BEGIN INSERT INTO t (o) VALUES ({}); EXCEPTION WHEN OTHERS THEN NULL; END;\n",
                quote_literal(value)
            )
        })
        .collect();
    // `json` has no `=`.
    let found = match from.starts_with("json") {
        true => format!("CAST(n AS {from})::text = o::text"),
        false => format!("ROW(CAST(n AS {from})) IS NOT DISTINCT FROM ROW(o)"),
    };
    let message = format!(
        "DROP TABLE IF EXISTS t, told;
         CREATE TEMP TABLE t (id int GENERATED ALWAYS AS IDENTITY, o {from}, n {to});
         CREATE TEMP TABLE told (id int, word text, found bool, lost text, ahead text);
         DO $do$
         DECLARE r record; seen record;
         BEGIN
             {inserts}
             FOR r IN SELECT id FROM t LOOP
                 BEGIN
                     UPDATE t SET n = CAST(o AS {base}) WHERE id = r.id;
                 EXCEPTION WHEN OTHERS THEN CONTINUE;
                 END;
                 SELECT NULL::bool AS found, NULL::text AS lost, NULL::text AS ahead INTO seen;
                 BEGIN
                     SELECT {found} INTO seen.found FROM t WHERE id = r.id;
                 EXCEPTION WHEN OTHERS THEN NULL;
                 END;
                 BEGIN
                     SELECT ({lost})::text INTO seen.lost FROM t WHERE id = r.id;
                 EXCEPTION WHEN OTHERS THEN seen.lost := SQLERRM;
                 END;
                 BEGIN
                     SELECT ({ahead})::text INTO seen.ahead FROM t WHERE id = r.id;
                 EXCEPTION WHEN OTHERS THEN seen.ahead := SQLERRM;
                 END;
                 INSERT INTO told SELECT r.id, o::text, seen.found, seen.lost, seen.ahead FROM t WHERE id = r.id;
             END LOOP;
         END $do$;"
    );
    client
        .batch_execute(&message)
        .await
        .map_err(|error| format!("{from} to {to}: {error:?}\n{message}"))?;
    let rows = client
        .query("SELECT word, found, lost, ahead FROM told ORDER BY id", &[])
        .await?;
    Ok(rows
        .iter()
        .map(|row| Told {
            word: row.get(0),
            found: row.get(1),
            lost: row.get(2),
            ahead: row.get(3),
        })
        .collect())
}

#[derive(Debug)]
struct Told {
    word: String,
    found: Option<bool>,
    lost: Option<String>,
    ahead: Option<String>,
}

async fn server(version: u32) -> Outcome<(TestDatabase, Client)> {
    let database = TestDatabase::create(version).await?;
    let client = database.client().await?;
    for pin in pins(&[mapping("double precision", "text")]) {
        client
            .batch_execute(&format!("SET {}", pin_text(pin)))
            .await?;
    }
    Ok((database, client))
}

/// Those that round to tens and thousands, from 15 on.
const COARSE: &[(&str, &[&str])] = &[
    ("numeric(6,-1)", &["0", "32760", "-990"]),
    ("numeric(25,-3)", &["0", "9223372036854775000", "-2000"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_lose_does_not_and_no_condition_fails_that_must_not() -> Outcome {
    for version in test_versions()? {
        let (_database, client) = server(version).await?;
        let (mut pairs, mut safe, mut wrong) = (0, 0, Vec::new());
        let coarse = if version >= 15 { COARSE } else { &[] };
        let types = [TYPES, coarse].concat();
        for (from, values) in &types {
            for (to, _) in &types {
                let told = tell(&client, from, values, to).await?;
                pairs += usize::from(!told.is_empty());
                for one in &told {
                    let truth =
                        |said: &Option<String>| matches!(said.as_deref(), Some("true" | "false"));
                    let safe_pair = cannot_lose(from, to);
                    safe += usize::from(safe_pair);
                    let kept = one.found == Some(true) && one.lost.as_deref() == Some("false");
                    let fails = !truth(&one.lost) || !truth(&one.ahead);
                    if (safe_pair && !kept)
                        || (fails && !may_fail(&mapping(from, to)))
                        || one.lost != one.ahead
                    {
                        wrong.push(format!("{from} {} to {to}: {one:?}", one.word));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "on {version}:\n{}", wrong.join("\n"));
        assert!(pairs > 300 && safe > 300, "{pairs} pairs, {safe} values");
    }
    Ok(())
}

/// Whether a value is lost, as a person would say.
const CASES: &[(&str, &str, &str, bool)] = &[
    ("numeric(12,4)", "1.2345", "numeric(12,2)", true),
    ("numeric(12,4)", "1.2300", "numeric(12,2)", false),
    ("numeric(12,4)", "NaN", "numeric(12,2)", false),
    ("numeric", "1.50", "numeric(12,1)", false),
    ("numeric", "1.25", "numeric(12,1)", true),
    ("numeric", "2.5", "integer", true),
    ("numeric", "2.0", "integer", false),
    ("numeric", "9007199254740993", "double precision", true),
    ("numeric", "0.1", "double precision", false),
    ("numeric", "1234567890123.4567", "double precision", true),
    // More digits than the cast back gives, and yet all of them are there.
    ("numeric", "12345678901234.56", "double precision", false),
    ("numeric", "0.12345678901234567", "double precision", true),
    ("bigint", "9007199254740993", "double precision", true),
    ("bigint", "9223372036854775807", "double precision", true),
    ("bigint", "1152921504606846976", "double precision", false),
    ("bigint", "9223372036854775807", "real", true),
    ("integer", "16777217", "real", true),
    ("integer", "2147483647", "real", true),
    ("integer", "16777216", "real", false),
    ("double precision", "0.1", "real", true),
    ("double precision", "0.5", "real", false),
    ("double precision", "0.1", "numeric", false),
    ("double precision", "0.30000000000000004", "numeric", true),
    (
        "double precision",
        "1.7976931348623157e308",
        "numeric",
        true,
    ),
    ("double precision", "-0", "numeric", false),
    ("double precision", "NaN", "numeric", false),
    ("double precision", "2.5", "bigint", true),
    ("real", "0.1", "numeric", false),
    ("real", "0.33333334", "numeric", true),
    ("real", "3.4028235e38", "numeric", true),
    ("text", "a ", "character(4)", true),
    ("text", "a", "character(4)", false),
    ("text", "ab  ", "character varying(2)", true),
    ("text", "ab", "character varying(2)", false),
    ("text", "01234", "integer", true),
    ("text", " 7", "integer", true),
    ("text", "-7", "integer", false),
    ("text", "yes", "boolean", true),
    ("text", "true", "boolean", false),
    ("text", "2024-2-29", "date", true),
    ("text", "2024-02-29", "date", false),
    ("text", "A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11", "uuid", true),
    (
        "text",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "uuid",
        false,
    ),
    ("integer", "2", "boolean", true),
    ("integer", "1", "boolean", false),
    (
        "timestamp without time zone",
        "2024-02-29 00:00:01",
        "date",
        true,
    ),
    ("timestamp without time zone", "2024-02-29", "date", false),
    (
        "timestamp with time zone",
        "2024-02-29 00:00+01",
        "date",
        true,
    ),
    (
        "timestamp with time zone",
        "2024-02-29 00:00:00.4+00",
        "timestamp(0) with time zone",
        true,
    ),
    ("interval", "25:00", "time without time zone", true),
    ("interval", "23:00", "time without time zone", false),
    ("interval", "1.4 secs", "interval(0)", true),
    ("inet", "10.0.0.1/8", "cidr", true),
    ("inet", "10.0.0.0/8", "cidr", false),
    (
        "text",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "name",
        true,
    ),
    ("numeric(12,4)[]", "{1.2345}", "numeric(12,2)[]", true),
    ("numeric(12,4)[]", "{1.5,NULL}", "numeric(12,2)[]", false),
    ("jsonb", "{\"a\": 1.50}", "json", false),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_is_what_a_person_would_call_one() -> Outcome {
    for version in test_versions()? {
        let (_database, client) = server(version).await?;
        let mut wrong = Vec::new();
        for (from, value, to, expected) in CASES {
            let told = tell(&client, from, &[value], to).await?;
            let [one] = told.as_slice() else {
                wrong.push(format!("{from} {value} to {to}: no cast"));
                continue;
            };
            if one.lost.as_deref() != Some(if *expected { "true" } else { "false" }) {
                wrong.push(format!("{from} {value} to {to}: {one:?}"));
            }
        }
        assert!(wrong.is_empty(), "on {version}:\n{}", wrong.join("\n"));
    }
    Ok(())
}
