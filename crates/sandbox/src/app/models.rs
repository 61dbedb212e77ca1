//! The models that come with the sandbox: one application over tables that differ in what migrations stumble over.

use rand::Rng;
use rand::rngs::StdRng;
use sha2::{Digest, Sha256};

use super::model::{Cell, Column, Content, KeySource, Mapping, Model, Side};

/// Every model here, for tests that run over all of them.
pub fn all() -> Vec<Model> {
    vec![
        orders(),
        uuid_key(),
        composite_key(),
        text_key(),
        renamed(),
        no_key(),
        partitioned(),
        same_name(),
    ]
}

/// The demo's table: `amount` (integer) becomes `amount_exact` (numeric), `customer_normalized` is added as
/// `lower(customer)`. The key is GENERATED ALWAYS AS IDENTITY.
pub fn orders() -> Model {
    base(
        "orders",
        "id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        vec![("id", "bigint")],
        KeySource::Identity,
    )
}

/// The same with uuid keys in random order, which change at times.
pub fn uuid_key() -> Model {
    base(
        "orders_uuid",
        "id uuid PRIMARY KEY",
        vec![("id", "uuid")],
        KeySource::Given {
            make: |n| {
                let hash = Sha256::digest(format!("key {n}"));
                let hex: String = hash
                    .iter()
                    .take(16)
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                vec![format!(
                    "{}-{}-{}-{}-{}",
                    &hex[..8],
                    &hex[8..12],
                    &hex[12..16],
                    &hex[16..20],
                    &hex[20..]
                )]
            },
            seed_sql: &[
                "encode(substr(sha256(convert_to('key ' || g, 'UTF8')), 1, 16), 'hex')::uuid",
            ],
        },
    )
}

/// The same with a key of two columns.
pub fn composite_key() -> Model {
    base(
        "orders_composite",
        "tenant integer, code text, PRIMARY KEY (tenant, code)",
        vec![("tenant", "integer"), ("code", "text")],
        KeySource::Given {
            make: |n| vec![(n % 7).to_string(), format!("c-{n}")],
            seed_sql: &["(g % 7)::integer", "'c-' || g"],
        },
    )
}

/// The same with a text key of odd characters, in a column whose name holds quotes and capitals.
pub fn text_key() -> Model {
    base(
        "orders_text",
        r#""The ""key""" text PRIMARY KEY"#,
        vec![("The \"key\"", "text")],
        KeySource::Given {
            make: |n| vec![format!("Ключ \"{n}\" \\ 'q' {{}}%_\t;--{}", n % 10)],
            seed_sql: &[r#"'Ключ "' || g || '" \ ''q'' {}%_' || chr(9) || ';--' || g % 10"#],
        },
    )
}

/// The same without a declared key: only a plain index on `id`.
pub fn no_key() -> Model {
    let mut model = base(
        "orders_no_key",
        "id bigint NOT NULL",
        vec![("id", "bigint")],
        SERIAL,
    );
    model.ddl.push("CREATE INDEX ON {table} (id)".into());
    model
}

/// The same as a range-partitioned table with a default partition; rows move between partitions when keys change.
pub fn partitioned() -> Model {
    let mut model = base(
        "orders_parts",
        "id bigint PRIMARY KEY",
        vec![("id", "bigint")],
        SERIAL,
    );
    model.ddl[0].push_str(" PARTITION BY RANGE (id)");
    for (no, (from, to)) in [
        ("MINVALUE", "1000"),
        ("1000", "20000"),
        ("20000", "500000"),
        ("500000", "1000000"),
    ]
    .iter()
    .enumerate()
    {
        model.ddl.push(format!(
            "CREATE TABLE {{schema}}.\"{{name}}_p{no}\" PARTITION OF {{table}} FOR VALUES FROM ({from}) TO ({to})"
        ));
    }
    model
        .ddl
        .push("CREATE TABLE {schema}.\"{name}_rest\" PARTITION OF {table} DEFAULT".into());
    model
}

/// A column that gets another name: `customer`, which may be NULL, becomes `client`.
pub fn renamed() -> Model {
    let mut model = base(
        "orders_renamed",
        "id bigint PRIMARY KEY",
        vec![("id", "bigint")],
        SERIAL,
    );
    model.ddl[0] = model.ddl[0].replace("customer text NOT NULL", "customer text");
    model
        .columns
        .retain(|column| !matches!(column.content, Content::New(_)));
    for column in &mut model.columns {
        match column.name {
            "customer" => {
                column.side = Side::Old;
                column.content = Content::Value {
                    seed_sql: "CASE WHEN g % 4 = 1 THEN NULL ELSE 'Customer ' || (g % 1000) END",
                    seed: |g| (g % 4 != 1).then(|| format!("Customer {}", g % 1000)),
                    generate: perhaps_customer,
                };
            }
            "amount" => column.side = Side::Both,
            _ => {}
        }
    }
    let client = Column {
        name: "client",
        sql_type: "text",
        side: Side::New,
        content: Content::New(Some(perhaps_customer)),
    };
    model.columns.push(client);
    model.mappings = vec![Mapping {
        old: vec!["customer"],
        new: vec!["client"],
        up: same,
        down: Some(same),
    }];
    model.operations = "- rename_column: {table: {table}, from: customer, to: client}\n";
    model
}

/// A column that changes its type under its own name: `amount` from integer to numeric, with the shadow hidden until contract.
pub fn same_name() -> Model {
    let mut model = base(
        "orders_same_name",
        "id bigint PRIMARY KEY",
        vec![("id", "bigint")],
        SERIAL,
    );
    model
        .columns
        .retain(|column| !matches!(column.content, Content::New(_)));
    for column in &mut model.columns {
        if column.name == "amount" {
            column.side = Side::Both;
        }
    }
    model.mappings = Vec::new();
    model.operations = "- change_type: {table: {table}, column: amount, to: numeric}\n";
    model
}

const SERIAL: KeySource = KeySource::Given {
    make: |n| vec![n.to_string()],
    seed_sql: &["g"],
};

fn base(
    table: &'static str,
    key_ddl: &str,
    key: Vec<(&'static str, &'static str)>,
    key_source: KeySource,
) -> Model {
    let ddl = format!(
        "CREATE TABLE {{table}} ({key_ddl}, customer text NOT NULL, amount integer NOT NULL, \
         status text NOT NULL DEFAULT 'new', note text, revision bigint NOT NULL DEFAULT 0, \
         updated_at timestamptz NOT NULL DEFAULT now())"
    );
    let value = |seed_sql, seed, generate| Content::Value {
        seed_sql,
        seed,
        generate,
    };
    let column = |name, sql_type, side, content| Column {
        name,
        sql_type,
        side,
        content,
    };
    Model {
        name: table,
        schema: "public".into(),
        table: table.into(),
        ddl: vec![ddl],
        key,
        key_source,
        columns: vec![
            column(
                "customer",
                "text",
                Side::Both,
                value(
                    "'Customer ' || (g % 1000)",
                    |g| Some(format!("Customer {}", g % 1000)),
                    customer,
                ),
            ),
            column(
                "amount",
                "integer",
                Side::Old,
                value(
                    "g * 7919 % 100000",
                    |g| Some((g * 7919 % 100_000).to_string()),
                    amount,
                ),
            ),
            column(
                "status",
                "text",
                Side::Both,
                value(
                    "(ARRAY['new', 'paid', 'sent'])[g % 3 + 1]",
                    |g| Some(["new", "paid", "sent"][(g % 3) as usize].into()),
                    |rng, _| Some(["new", "paid", "sent", "lost"][rng.random_range(0..4)].into()),
                ),
            ),
            column(
                "note",
                "text",
                Side::Both,
                value(
                    "CASE WHEN g % 5 = 0 THEN NULL ELSE 'note ' || g END",
                    |g| (g % 5 != 0).then(|| format!("note {g}")),
                    note,
                ),
            ),
            column("revision", "bigint", Side::Both, Content::Revision),
            column("updated_at", "timestamptz", Side::Both, Content::Now),
            column(
                "amount_exact",
                "numeric",
                Side::New,
                Content::New(Some(exact_amount)),
            ),
            column("customer_normalized", "text", Side::New, Content::New(None)),
        ],
        mappings: vec![
            Mapping {
                old: vec!["amount"],
                new: vec!["amount_exact"],
                up: same,
                down: Some(rounded),
            },
            Mapping {
                old: vec!["customer"],
                new: vec!["customer_normalized"],
                up: lower_case,
                down: None,
            },
        ],
        operations: "- change_type: {table: {table}, column: amount, to: numeric, as: amount_exact}\n\
                     - add_column:\n\
                     \x20   table: {table}\n\
                     \x20   column: {name: customer_normalized, type: text, nullable: false}\n\
                     \x20   up: lower(customer)\n",
    }
}

fn same(values: &[Cell]) -> Vec<Cell> {
    values.to_vec()
}

fn lower_case(values: &[Cell]) -> Vec<Cell> {
    // Customers are ASCII, so that the answer does not depend on the database's collation.
    values
        .iter()
        .map(|value| value.as_ref().map(|text| text.to_ascii_lowercase()))
        .collect()
}

/// numeric to integer as PostgreSQL casts it: halves are rounded away from zero.
fn rounded(values: &[Cell]) -> Vec<Cell> {
    let round = |text: &String| {
        let (sign, digits) = text
            .strip_prefix('-')
            .map_or((1, text.as_str()), |digits| (-1, digits));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let up = fraction
            .as_bytes()
            .first()
            .is_some_and(|digit| *digit >= b'5');
        let whole: i64 = whole.parse().unwrap_or_default();
        (sign * (whole + i64::from(up))).to_string()
    };
    values
        .iter()
        .map(|value| value.as_ref().map(round))
        .collect()
}

fn customer(rng: &mut StdRng, write: u64) -> Cell {
    // Some writes change the case only, so that a derived column may or may not change with its source.
    let name = format!("Customer {}", write % 1000);
    Some(match rng.random_range(0..3) {
        0 => name,
        1 => name.to_ascii_uppercase(),
        _ => format!("{name} \"{}\" O'Neil \\ {write}", rng.random_range(0..100)),
    })
}

fn perhaps_customer(rng: &mut StdRng, write: u64) -> Cell {
    if rng.random_ratio(1, 5) {
        None
    } else {
        customer(rng, write)
    }
}

fn amount(rng: &mut StdRng, _: u64) -> Cell {
    Some(rng.random_range(-1000..1_000_000).to_string())
}

/// Values that an integer cannot hold, and values that are equal as numbers and different as images (`5`, `5.00`).
fn exact_amount(rng: &mut StdRng, _: u64) -> Cell {
    let (whole, cents) = (rng.random_range(-1000..1_000_000), rng.random_range(0..100));
    Some(match rng.random_range(0..4) {
        0 => whole.to_string(),
        1 => format!("{whole}.00"),
        2 => format!("{whole}.50"),
        _ => format!("{whole}.{cents:02}"),
    })
}

/// Short, missing, and now and then long enough to be stored out of line.
fn note(rng: &mut StdRng, write: u64) -> Cell {
    match rng.random_range(0..100) {
        0..5 => None,
        5..95 => Some(format!(
            "note {write} {}",
            "x".repeat(rng.random_range(0..200))
        )),
        95..99 => Some(format!("Größe \t\n\\ {write} 'ü' €")),
        _ => Some(
            (0..400)
                .map(|_| format!("{:016x}", rng.random::<u64>()))
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::Version;
    use super::*;

    #[test]
    fn rounds_as_postgresql_does() {
        let cells = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| Some((*text).to_owned()))
                .collect::<Vec<Cell>>()
        };
        assert_eq!(
            rounded(&cells(&[
                "1", "1.49", "1.50", "-1.50", "-0.4", "-0.5", "0.00"
            ])),
            cells(&["1", "1", "2", "-2", "0", "-1", "0"])
        );
        assert_eq!(rounded(&[None]), [None]);
    }

    #[test]
    fn changed_side_decides() {
        let model = orders();
        let at = |name| model.positions(&[name])[0];
        let before = model.seed_row(1);
        let set = |row: &Vec<Cell>, name: &'static str, value: &str| {
            model.updated(row, &[(at(name), Some(value.into()))])
        };
        let new_wrote = set(&before, "amount_exact", "12.50");
        assert_eq!(new_wrote[at("amount")].as_deref(), Some("13"));
        let old_wrote_the_same = set(&new_wrote, "amount", "13");
        assert_eq!(
            old_wrote_the_same[at("amount_exact")].as_deref(),
            Some("12.50")
        );
        let old_wrote = set(&new_wrote, "amount", "14");
        assert_eq!(old_wrote[at("amount_exact")].as_deref(), Some("14"));
        let customer = set(&before, "customer", "ABC");
        assert_eq!(customer[at("customer_normalized")].as_deref(), Some("abc"));
    }

    /// Invariants of every model: mistakes in one would otherwise show as panics in the middle of a run.
    #[test]
    fn models_are_complete() {
        for model in all() {
            assert!(
                model.columns[model.revision()].side.seen_by(Version::Old),
                "{}",
                model.name
            );
            assert!(
                model.is_mapped(0) || model.mappings.is_empty(),
                "{}",
                model.name
            );
            assert!(model.plan("p", 1).contains(&model.table), "{}", model.name);
            assert_ne!(model.seed_key(1), model.seed_key(2), "{}", model.name);
        }
    }
}
