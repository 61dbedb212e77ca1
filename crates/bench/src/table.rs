//! The table that is changed: its key, its rows, and what is done to it.

/// What identifies a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// Ascending, as an identity column gives them.
    Bigint,
    /// Random, version 4.
    Uuid,
    /// A thousand tenants, each with numbers of its own.
    Composite,
}

/// What else is in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// About 80 bytes.
    Narrow,
    /// About 700 bytes, in line.
    Wide,
    /// Narrow, with three more indexes.
    Indexed,
}

/// A table of the grid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    pub(crate) key: Key,
    pub(crate) shape: Shape,
    pub(crate) rows: u32,
}

/// What is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Two new columns, computed from old ones under a dual write.
    Shapes,
    /// A constant where there is none, with no trigger beside it.
    Constant,
}

impl Work {
    /// What stands behind `SET`.
    pub(crate) fn set(self) -> &'static str {
        match self {
            Self::Shapes => "amount_exact = amount::numeric, email_normalized = lower(email)",
            Self::Constant => "note = 'none'",
        }
    }

    /// Rows to be changed.
    pub(crate) fn filter(self) -> &'static str {
        match self {
            Self::Shapes => "amount_exact IS NULL",
            Self::Constant => "note IS NULL",
        }
    }

    /// Rows that are not right in the end.
    pub(crate) fn wrong(self) -> &'static str {
        match self {
            Self::Shapes => {
                "amount_exact IS DISTINCT FROM amount::numeric
                 OR email_normalized IS DISTINCT FROM lower(email)"
            }
            Self::Constant => "note IS NULL",
        }
    }

    /// The columns, where a plan would add them.
    pub(crate) fn columns(self) -> Option<&'static str> {
        match self {
            Self::Shapes => {
                Some("ALTER TABLE users ADD amount_exact numeric, ADD email_normalized text")
            }
            Self::Constant => None,
        }
    }

    /// The same as a plan's operations.
    pub(crate) fn operations(self) -> &'static str {
        match self {
            Self::Shapes => {
                "  - change_type: {table: users, column: amount, to: numeric, as: amount_exact}
  - add_column: {table: users, column: {name: email_normalized, type: text}, up: lower(email)}
"
            }
            Self::Constant => {
                "  - backfill: {table: users, set: {note: \"'none'\"}, where: note IS NULL, undo: keep}
"
            }
        }
    }
}

impl Table {
    /// The one that most sections take: narrow rows with an ascending key.
    pub(crate) fn usual(rows: u32) -> Self {
        Self {
            key: Key::Bigint,
            shape: Shape::Narrow,
            rows,
        }
    }

    /// For people: `bigint key, narrow, 1,000,000 rows`.
    pub(crate) fn name(&self) -> String {
        let key = match self.key {
            Key::Bigint => "bigint",
            Key::Uuid => "uuid",
            Key::Composite => "composite",
        };
        let shape = match self.shape {
            Shape::Narrow => "narrow",
            Shape::Wide => "wide",
            Shape::Indexed => "narrow with 3 more indexes",
        };
        format!("{key} key, {shape}, {} rows", self.rows)
    }

    /// The columns of the key.
    pub(crate) fn key_columns(&self) -> &'static [(&'static str, &'static str)] {
        match self.key {
            Key::Bigint => &[("id", "bigint")],
            Key::Uuid => &[("id", "uuid")],
            Key::Composite => &[("tenant", "integer"), ("no", "bigint")],
        }
    }

    /// Statements that make and fill it.
    pub(crate) fn create(&self) -> String {
        let rows = self.rows;
        let (columns, values) = match self.key {
            Key::Bigint => ("id bigint PRIMARY KEY", "g"),
            Key::Uuid => ("id uuid PRIMARY KEY", "gen_random_uuid()"),
            Key::Composite => (
                "tenant integer NOT NULL, no bigint NOT NULL, PRIMARY KEY (tenant, no)",
                "g % 1000, g / 1000",
            ),
        };
        let payload = match self.shape {
            Shape::Wide => {
                "(SELECT string_agg(md5(g::text || i), '') FROM generate_series(1, 19) AS i)"
            }
            Shape::Narrow | Shape::Indexed => "NULL",
        };
        let indexes = match self.shape {
            Shape::Indexed => {
                "CREATE INDEX ON users (email);
                 CREATE INDEX ON users (created_at);
                 CREATE INDEX ON users (amount, created_at);"
            }
            Shape::Narrow | Shape::Wide => "",
        };
        format!(
            "CREATE TABLE users ({columns}, email text NOT NULL, amount integer NOT NULL,
                 created_at timestamptz NOT NULL DEFAULT now(), note text, payload text);
             ALTER TABLE users ALTER payload SET STORAGE MAIN;
             INSERT INTO users SELECT {values}, 'User' || g || '@Example.Com', g % 1000,
                 now() - g * interval '1 second', NULL, {payload}
             FROM generate_series(1, {rows}) AS g;
             {indexes}"
        )
    }
}
