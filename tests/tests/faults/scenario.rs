//! What is migrated: a model of the sandbox, some with further operations.

use pontoon_sandbox::app::{Model, models};

/// Rows of the table.
pub(crate) const ROWS: u64 = 20_000;

/// A table and the plan that changes it.
#[derive(Clone)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) model: Model,
    /// Statements after the model's own.
    setup: &'static str,
    /// Operations after the model's own, as list items at the line's start.
    more: &'static str,
    /// A query that gives true at the end of what comes there.
    holds: &'static str,
}

impl Scenario {
    /// The statements that complete the database, after the model is there.
    pub(crate) fn setup(&self) -> String {
        format!(
            "{}; ANALYZE {}",
            self.setup.replace("{table}", &self.model.quoted_table()),
            self.model.quoted_table()
        )
    }

    /// What the oracle does not know of, when there is anything.
    pub(crate) fn holds(&self) -> Option<String> {
        let query = self.holds.replace("{table}", &self.model.quoted_table());
        Some(query).filter(|query| !query.is_empty())
    }

    /// The plan: small batches, two workers.
    pub(crate) fn plan(&self) -> String {
        let more: String = self
            .more
            .replace("{table}", &self.model.table)
            .lines()
            .map(|line| format!("  {line}\n"))
            .collect();
        format!(
            "{}{more}limits: {{max_batch_rows: 400}}\nbackfill: {{target_batch_time: 20ms, workers: 2, nice_ratio: 4}}\n",
            self.model.plan("tried", 1)
        )
    }
}

/// Every scenario.
pub(crate) fn all() -> Vec<Scenario> {
    let plain = |name, model| Scenario {
        name,
        model,
        setup: "SELECT",
        more: "",
        holds: "",
    };
    vec![
        plain("orders", models::orders()),
        plain("uuid", models::uuid_key()),
        plain("composite", models::composite_key()),
        plain("text", models::text_key()),
        plain("renamed", models::renamed()),
        plain("no_key", models::no_key()),
        plain("parts", models::partitioned()),
        plain("same_name", models::same_name()),
        Scenario {
            name: "indexed",
            model: models::orders(),
            setup: "SELECT",
            more: "- add_index: {table: {table}, name: orders_status_idx, columns: [status, customer]}\n\
                   - add_unique: {table: {table}, name: orders_revision_key, columns: [id, revision]}\n",
            holds: "",
        },
        Scenario {
            name: "tight",
            model: models::orders(),
            setup: "CREATE TABLE statuses (name text PRIMARY KEY); \
                    INSERT INTO statuses VALUES ('new'), ('paid'), ('sent'), ('lost'); \
                    ALTER TABLE {table} ADD legacy text, ADD region text; \
                    CREATE INDEX orders_legacy_idx ON {table} (legacy)",
            more: "- add_check: {table: {table}, name: orders_revision_check, check: revision >= 0}\n\
                   - set_default: {table: {table}, column: region, default: \"'eu'\"}\n\
                   - set_not_null: {table: {table}, column: region, fill: \"'eu'\"}\n\
                   - add_index: {table: {table}, name: orders_status_idx, columns: [status]}\n\
                   - add_foreign_key:\n\
                   \x20   table: {table}\n\
                   \x20   name: orders_status_fkey\n\
                   \x20   columns: [status]\n\
                   \x20   references: {table: statuses, columns: [name]}\n\
                   - drop_column: {table: {table}, column: legacy}\n",
            holds: "",
        },
        Scenario {
            name: "lookup",
            model: models::orders(),
            // Both new columns get the same value of every insert, another one
            // every second: what old versions write for the first time.
            setup: "ALTER TABLE {table} ADD region text, ADD origin text; \
                    UPDATE {table} SET region = 'r' || id % 50, origin = 'r' || id % 50; \
                    ALTER TABLE {table} \
                        ALTER region SET DEFAULT 's' || trunc(extract(epoch FROM statement_timestamp())), \
                        ALTER origin SET DEFAULT 's' || trunc(extract(epoch FROM statement_timestamp()))",
            more: "- extract_lookup: {table: {table}, columns: [region], into: regions, reference: region_id}\n",
            // Only rows inserted after contract have no reference.
            holds: "SELECT count(*) = 0 FROM {table} LEFT JOIN regions ON regions.id = region_id \
                    WHERE regions.region <> origin OR region_id IS NULL AND origin LIKE 'r%'",
        },
    ]
}

/// The scenario of this name.
pub(crate) fn named(name: &str) -> Scenario {
    all()
        .into_iter()
        .find(|scenario| scenario.name == name)
        .unwrap_or_else(|| panic!("no scenario is called `{name}`"))
}
