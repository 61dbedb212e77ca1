//! What a batch does to a row, as SQL.

use pontoon_core::expr::Volatility;
use pontoon_core::sql::postgres::loss;
use pontoon_core::sql::postgres::mapping::{any_may_need_fill, any_needs_fill, fill_set, pins};
use pontoon_core::sql::quote::{quote_ident, quote_literal};
use pontoon_core::step::{BackfillWork, Mapping};

use super::super::ranges::position::Facts;

/// The alias of the row in every statement.
pub(crate) const ROW: &str = "t";

/// How a batch makes sure that a changed row does not match again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// It cannot: what fills a column looks for unfilled ones.
    Never,
    /// Once, before the rows: every row is given the same values, and the
    /// condition reads nothing else.
    Once,
    /// Each row as it was written.
    EachRow,
}

/// A way to change rows.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    /// True of rows that have to be changed.
    pub(crate) needs: String,
    /// True of these rows and perhaps of others, and cheap: what a batch
    /// counts to see how far it may go.
    pub(crate) may_need: String,
    /// What stands behind `SET`.
    pub(crate) set: String,
    /// How a batch makes sure that `needs` is false of its rows once they
    /// are changed.
    pub(crate) check: Check,
    /// `needs` of a row as it would be once changed, as a subquery over `t`;
    /// for work that is checked.
    pub(crate) needs_again: Option<String>,
    /// Settings that the expressions read.
    pub(crate) pins: Vec<(&'static str, &'static str)>,
    /// What the rows may lose, mapping by mapping.
    pub(crate) losses: Vec<Loss>,
    /// Columns that are written, with type and expression, for messages.
    pub(crate) columns: Vec<(String, String, String)>,
}

/// How it is seen that a row loses a value.
#[derive(Clone, Debug)]
pub(crate) struct Loss {
    /// Of a row as it was written.
    pub(crate) lost: String,
    /// Of a row before it is changed.
    pub(crate) would_lose: String,
    /// What is told of it.
    pub(crate) says: String,
}

impl Loss {
    fn of(mapping: &Mapping) -> Option<Self> {
        Some(Self {
            lost: loss::lost(mapping, ROW)?,
            would_lose: loss::would_lose(mapping, ROW)?,
            says: loss::says(mapping)?,
        })
    }
}

impl Work {
    /// The work of a backfill.
    pub(crate) fn of(work: &BackfillWork) -> Self {
        match work {
            BackfillWork::Mappings { mappings } => Self::fill(mappings),
            BackfillWork::Update { set, filter } => {
                let columns: Vec<(String, String, String)> = set
                    .iter()
                    .map(|(column, expr)| {
                        (column.name.clone(), column.type_name.clone(), expr.on(ROW))
                    })
                    .collect();
                let constant = set.iter().all(|(_, expr)| {
                    expr.columns.is_empty() && expr.volatility == Volatility::Immutable
                }) && filter.volatility == Volatility::Immutable
                    && filter
                        .columns
                        .iter()
                        .all(|name| columns.iter().any(|(column, ..)| column == name));
                let after: Vec<String> = filter
                    .columns
                    .iter()
                    .map(|name| {
                        let value = columns
                            .iter()
                            .find(|(column, ..)| column == name)
                            .map_or_else(
                                || format!("{ROW}.{}", quote_ident(name)),
                                |(_, type_name, value)| format!("({value})::{type_name}"),
                            );
                        format!("{value} AS {}", quote_ident(name))
                    })
                    .collect();
                let needs_again = format!(
                    "(SELECT {} FROM (SELECT {}) AS pontoon_after)",
                    filter.on("pontoon_after"),
                    after.join(", ")
                );
                let needs = format!("({})", filter.on(ROW));
                Self {
                    may_need: needs.clone(),
                    needs,
                    set: assignments(columns.iter().map(|(name, _, value)| (name, value))),
                    check: if constant {
                        Check::Once
                    } else {
                        Check::EachRow
                    },
                    needs_again: Some(needs_again),
                    losses: Vec::new(),
                    pins: all_pins(),
                    columns,
                }
            }
        }
    }

    /// Bringing rows into step with these mappings.
    pub(crate) fn fill(mappings: &[Mapping]) -> Self {
        let set = fill_set(mappings, ROW);
        let columns = set
            .iter()
            .map(|(name, value)| {
                let type_name = mappings
                    .iter()
                    .flat_map(|mapping| &mapping.new)
                    .find(|column| column.name == *name)
                    .map_or_else(|| "text".to_owned(), |column| column.type_name.clone());
                (name.clone(), type_name, value.clone())
            })
            .collect();
        Self {
            needs: any_needs_fill(mappings, ROW),
            may_need: any_may_need_fill(mappings, ROW),
            set: assignments(set.iter().map(|(name, value)| (name, value))),
            check: Check::Never,
            needs_again: None,
            losses: mappings.iter().filter_map(Loss::of).collect(),
            pins: pins(mappings),
            columns,
        }
    }

    /// There is something to set at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// A trigger may change what is written, so only the rows themselves tell.
    pub(crate) fn on_table(mut self, facts: &Facts) -> Self {
        if self.check == Check::Once && facts.changing_triggers {
            self.check = Check::EachRow;
        }
        self
    }

    /// The row lock that the update itself would take.
    pub(crate) fn lock(facts: &Facts) -> &'static str {
        if facts.key_lock {
            "FOR UPDATE"
        } else {
            "FOR NO KEY UPDATE"
        }
    }
}

/// An expression that names the row `t` to people: `id = 42`. A table without
/// a key has nothing better than the row's place of the moment.
pub(crate) fn row_name(names: &[String]) -> String {
    if names.is_empty() {
        return format!("'ctid = ' || {ROW}.ctid::text");
    }
    let each: Vec<String> = names
        .iter()
        .map(|name| {
            let value = format!("pg_catalog.left({ROW}.{}::text, 80)", quote_ident(name));
            format!(
                "{} || CASE WHEN {value} ~ '^-?[0-9]+([.][0-9]+)?$' THEN {value} \
                 ELSE pg_catalog.quote_literal({value}) END",
                quote_literal(&format!("{name} = "))
            )
        })
        .collect();
    format!("pg_catalog.concat_ws(', ', {})", each.join(", "))
}

fn assignments<'a>(set: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    set.map(|(column, value)| format!("{} = {value}", quote_ident(column)))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Without a trigger beside it, a backfill evaluates its expressions in one
/// place only, under all the pins there are.
fn all_pins() -> Vec<(&'static str, &'static str)> {
    let unstable = pontoon_core::expr::Expr {
        template: String::new(),
        columns: Vec::new(),
        volatility: Volatility::Stable,
    };
    pins(&[Mapping {
        operation: 0,
        old: Vec::new(),
        new: Vec::new(),
        rule: pontoon_core::step::Rule::Fill { up: vec![unstable] },
        required: false,
        back: None,
    }])
}
