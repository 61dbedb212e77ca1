//! `change_type`: changes a column's type through a second column.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{Column, ExprFacts, Table};
use crate::expr::{Expr, ROW, Volatility};
use crate::lower::{Asking, Lower, Lowering, Over, Replace, column_expr, mapped};
use crate::ops::common::{SqlExpr, TableRef};
use crate::plan::{Check, Declare, Mentions, Role, TableUse};
use crate::sql::postgres::image::without_modifiers;
use crate::sql::postgres::loss::{always_loses, cannot_lose};
use crate::sql::quote::quote_ident;
use crate::step::{Back, MappedColumn, OnConflict, Rule};

/// Changes a column's type through a second column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeType {
    /// The table.
    pub table: TableRef,
    /// The column.
    #[schemars(extend("format" = "identifier"))]
    pub column: String,
    /// The new type.
    #[schemars(extend("format" = "sql-type"))]
    pub to: String,
    /// The column that new versions use before contract; without it the second column is hidden.
    #[serde(default)]
    #[schemars(extend("format" = "identifier"))]
    pub r#as: Option<String>,
    /// The new value from the old columns. Default: a cast.
    #[serde(default)]
    pub up: Option<SqlExpr>,
    /// The old value from the new column. Default: a cast.
    #[serde(default)]
    pub down: Option<SqlExpr>,
    /// What a write that gives both columns inconsistent values means. Default: error.
    #[serde(default)]
    pub on_conflict: Option<OnConflict>,
    /// Accepts expressions that may give another value at every call.
    #[serde(default)]
    pub allow_volatile: bool,
    /// Gives up what the new type does not keep. Only for the default cast.
    #[serde(default)]
    pub lossy: bool,
}

impl ChangeType {
    /// The name of the second column until the cutover.
    fn second(&self, artifact: impl Fn(&str) -> String) -> String {
        self.r#as.clone().unwrap_or_else(|| artifact("shadow"))
    }

    /// The default `up`: a cast, as a question to the database.
    fn up_text(&self) -> String {
        self.up.as_ref().map_or_else(
            || format!("CAST({} AS {})", quote_ident(&self.column), self.to),
            |up| up.postgresql().to_owned(),
        )
    }

    /// The default `down`: a cast back, as a question to the database.
    fn down_text(&self, name: &str, old_type: &str) -> String {
        self.down.as_ref().map_or_else(
            || format!("CAST({} AS {old_type})", quote_ident(name)),
            |down| down.postgresql().to_owned(),
        )
    }

    /// The new value is what a cast gives, and whatever gets lost by it counts.
    fn may_lose(&self) -> bool {
        self.up.is_none() && !self.lossy
    }

    /// The way back that the plan gives; a hidden column has none.
    fn way_back(&self) -> Option<&SqlExpr> {
        self.down.as_ref().filter(|_| self.r#as.is_some())
    }

    /// The server's cast back, as a question to the database.
    fn back_text(name: &str, old_type: &str) -> String {
        format!("CAST({} AS {old_type})", quote_ident(name))
    }

    /// Whether the default cast may lose something, and how that is seen; or a
    /// refusal, where nothing can be seen and nothing is given up.
    fn back(
        &self,
        lowering: &mut Lowering<'_>,
        table: &Table,
        column: &Column,
        to: &str,
        second: &str,
    ) -> Option<Back> {
        if self.up.is_some() {
            return None;
        }
        let from = &column.def.type_name;
        let what = format!("{}.{}", table.name, self.column);
        if cannot_lose(from, to) {
            if self.lossy {
                lowering.invalid(
                    format!(
                        "`lossy` says nothing here: {what} of type {from} loses nothing in {to}"
                    ),
                    "Leave it out: a value that does not fit stops the run all the same.",
                );
            }
            return None;
        }
        if self.lossy {
            return None;
        }
        let ways_out =
            "Write `lossy: true` if that may go, or say with `up` what the new value is.";
        if let Some(down) = self.way_back() {
            let facts = lowering.facts(&table.name, down.postgresql(), Some(from), "down")?;
            return Some(Back::Down { down: facts.expr });
        }
        if let Some(why) = always_loses(from, to) {
            lowering.unsafe_(
                format!("{what} of type {from} would lose something in {to}: {why}"),
                ways_out,
            );
            return None;
        }
        let answer = lowering.answer(&table.name, &Self::back_text(second, from), Some(from));
        match answer {
            Some(Ok(facts)) => Some(Back::Cast {
                volatility: facts.expr.volatility,
            }),
            Some(Err(_)) => {
                lowering.unsafe_(
                    format!("no cast leads back from {to} to {from}, so nobody could tell what {what} loses"),
                    ways_out,
                );
                None
            }
            None => None,
        }
    }

    fn lower_pair(
        &self,
        lowering: &mut Lowering<'_>,
        table: &Table,
        column: &Column,
        name: &str,
        up: Expr,
    ) -> Option<Rule> {
        lowering.new_column_name(table, name);
        let down = match &self.down {
            Some(down) => {
                let facts = lowering.mapping_expr(
                    table,
                    down,
                    &column.def.type_name,
                    "down",
                    &Over::Columns(&[name]),
                    self.allow_volatile.into(),
                )?;
                if facts.null_on_null == Some(false) {
                    lowering.unsafe_(
                        format!("`down: {}` turns NULL into a value, so a NULL that a new version writes could not be told from a missing one", down.postgresql()),
                        "Write `down` so that it gives NULL for NULL.",
                    );
                }
                facts.expr
            }
            None => {
                let text = self.down_text(name, &column.def.type_name);
                let no_cast = lowering.no_cast(&table.name, &text, &column.def.type_name);
                if no_cast {
                    lowering.invalid(
                        format!(
                            "no cast leads from {} back to {}, the type that old versions read",
                            self.to, column.def.type_name
                        ),
                        format!(
                            "Say what they shall see, as in `down: {}`.",
                            converted(name, &self.to, &column.base_type)
                        ),
                    );
                    return None;
                }
                let facts =
                    lowering.facts(&table.name, &text, Some(&column.def.type_name), "down")?;
                cast(name, &column.base_type, &facts)
            }
        };
        let volatile = column
            .def
            .default
            .as_ref()
            .is_some_and(|default| default.volatility == Volatility::Volatile);
        if volatile && self.on_conflict.is_none() {
            lowering.unsafe_(
                format!("{}.{} has a volatile default, so an INSERT that gives only `{name}` cannot be told from one that gives both", table.name, self.column),
                "Say `on_conflict: new`: what a writer gives in the new column then wins.",
            );
        }
        Some(Rule::Pair {
            up: vec![up],
            down: vec![down],
            on_conflict: self.on_conflict.unwrap_or(OnConflict::Error),
        })
    }

    /// The old default, seen through `up`.
    fn new_default(
        &self,
        lowering: &mut Lowering<'_>,
        table: &Table,
        column: &Column,
        up: &Expr,
    ) -> Option<String> {
        let default = column.def.default.as_ref()?;
        if up.columns != [self.column.clone()] {
            lowering.unsafe_(
                format!("{}.{} has a default ({}), and `up` reads other columns too, so the new column's default cannot be derived", table.name, self.column, default.bare()),
                "Drop the default in an earlier plan, and set the new one with `set_default` afterwards.",
            );
            return None;
        }
        let value = format!("({})", default.bare());
        Some(
            up.template
                .replace(&format!("{ROW}.{}", quote_ident(&self.column)), &value)
                .replace(&format!("{ROW}.{}", self.column), &value),
        )
    }
}

impl Declare for ChangeType {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Shaped);
        let visible = self.r#as.is_some();
        to.column(
            &self.table,
            &self.column,
            Role::Retyped { visible },
            &["column"],
        );
        if let Some(second) = &self.r#as {
            to.column(&self.table, second, Role::RetypedAs, &["as"]);
        }
        if let Some(up) = &self.up {
            to.reads_old_shape(&self.table, up, &["up"]);
        }
    }

    fn check(&self, check: &mut Check<'_>) {
        if self.lossy && self.up.is_some() {
            let span = check.written.key_span("lossy");
            check.report(
                &span,
                "`lossy` beside `up`",
                "`up` says what the new value is, so nothing is checked that could be given up",
                "remove one of the two",
            );
        }
        let Some(other) = &self.r#as else {
            if self.on_conflict.is_some() {
                let span = check.written.key_span("on_conflict");
                check.report(
                    &span,
                    "`on_conflict` needs `as`",
                    "without a second name no write can give both columns",
                    "remove it, or give `as`",
                );
            }
            return;
        };
        let span = check.written.span(&["as"]);
        check.new_column(other, &span);
        if *other == self.column {
            check.report(
                &span,
                "`as` is the column itself",
                "expected the name of a second column",
                "leave `as` out to keep the name: the second column is then hidden until contract",
            );
        }
    }
}

impl Lower for ChangeType {
    fn ask(&self, asking: &mut Asking<'_>) {
        let table = asking.table(&self.table);
        asking.type_name(&self.to);
        asking.expression(&table, &self.up_text(), Some(&self.to));
        let second = self.second(|what| asking.artifact(what));
        let last = self.r#as.as_ref().unwrap_or(&self.column);
        asking.replacement(&table, &self.column, &self.to, None, &second, last);
        if self.r#as.is_some() || self.may_lose() {
            asking.column(&table, &second, &self.to);
        }
        if self.may_lose()
            && let Some(old_type) = asking.type_of(&table, &self.column)
        {
            match self.way_back() {
                Some(down) => asking.expression(&table, down.postgresql(), Some(old_type)),
                None => {
                    let back = Self::back_text(&second, old_type);
                    asking.expression(&table, &back, Some(old_type));
                }
            }
        }
        if let Some(name) = &self.r#as
            && let Some(old_type) = asking.type_of(&table, &self.column)
        {
            let down = self.down_text(name, old_type);
            asking.expression(&table, &down, Some(old_type));
        }
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.alterable(&self.table) else {
            return;
        };
        let Some(column) = lowering.column(&table, &self.column) else {
            return;
        };
        let Some(to) = lowering.type_facts(&self.to) else {
            return;
        };
        // A hidden column is computed from an identity, which nobody writes for it.
        if column.def.identity.is_none() || self.r#as.is_some() {
            lowering.refuse_unwritable(&table, &column);
        }
        if to.constrained_domain {
            lowering.unsafe_(
                format!("adding a column of the constrained domain `{}` rewrites the whole table under a lock", self.to),
                "Use the domain's base type and an `add_check` operation.",
            );
        }
        if self.up.is_none() && lowering.no_cast(&table.name, &self.up_text(), &self.to) {
            lowering.invalid(
                format!(
                    "no cast leads from {}.{} of type {} to {}",
                    table.name, self.column, column.def.type_name, self.to
                ),
                format!(
                    "Say what the new value is, as in `up: {}`.",
                    converted(&self.column, &column.base_type, &to.base)
                ),
            );
            return;
        }
        let Some(up) = lowering.mapping_expr(
            &table,
            &SqlExpr::Any(self.up_text()),
            &self.to,
            "up",
            &Over::OldShape,
            self.allow_volatile.into(),
        ) else {
            return;
        };
        let up = match &self.up {
            Some(_) => up.expr,
            None => cast(&self.column, &to.base, &up),
        };
        let second = self.second(|what| lowering.artifact(what));
        let old: Vec<MappedColumn> = if up.columns.is_empty() {
            vec![mapped(&column)]
        } else {
            lowering.mapped_columns(&table, &up.columns)
        };
        let rule = match &self.r#as {
            Some(name) => {
                if old.len() != 1 || old[0].name != self.column {
                    lowering.invalid(
                        "`up` of a column with `as` reads other columns, which `down` cannot write back".to_owned(),
                        "Let `up` read only the column whose type changes.",
                    );
                    return;
                }
                let Some(rule) = self.lower_pair(lowering, &table, &column, name, up.clone())
                else {
                    return;
                };
                rule
            }
            None => {
                if up.volatility == Volatility::Volatile {
                    lowering.unsafe_(
                        "`up` gives another value each time, and a hidden column is computed on every write".to_owned(),
                        "Name the new column with `as`, or use a stable expression.",
                    );
                }
                Rule::Derived {
                    up: vec![up.clone()],
                }
            }
        };
        let back = self.back(lowering, &table, &column, &to.name, &second);
        if back.is_some() {
            lowering.note(format!(
                "A value of {}.{} that is not found again in {} stops the run, and verify finds those that the application writes meanwhile. `lossy: true` gives them up.",
                table.name, self.column, to.name
            ));
        }
        let zoned = |name: &str| name.starts_with("timestamp") && name.ends_with("with time zone");
        if self.up.is_none()
            && zoned(&column.def.type_name) != zoned(&to.name)
            && [&column.def.type_name, &to.name]
                .iter()
                .all(|name| name.starts_with("timestamp") || *name == "date")
        {
            lowering.note(format!(
                "A time of {}.{} without a zone is one in UTC. For another zone, say so: `up: {} AT TIME ZONE '…'`.",
                table.name, self.column, self.column
            ));
        }
        let default = self.new_default(lowering, &table, &column, &up);
        let last = self.r#as.clone().unwrap_or_else(|| self.column.clone());
        lowering.replace(Replace {
            table: &table,
            column: &column,
            to: &self.to,
            type_name: &to.name,
            second: &second,
            last: &last,
            old,
            rule,
            back,
            prefix: String::new(),
            default,
        });
        lowering.note_place(&format!("{}.{}", table.name, self.column));
    }
}

/// An expression for a value to which no cast leads, as a plan writes it.
fn converted(column: &str, from: &str, to: &str) -> String {
    let numbers = [
        "smallint",
        "integer",
        "bigint",
        "numeric",
        "real",
        "double precision",
    ];
    let to = without_modifiers(to);
    let (number_from, number_to) = (numbers.contains(&from), numbers.contains(&to.as_str()));
    let times = |name: &str| name.starts_with("timestamp") || name == "date" || name == "interval";
    let plain = !column.is_empty()
        && column.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        && !["user", "order", "group", "end", "desc", "all"].contains(&column);
    let name = if plain {
        column.to_owned()
    } else {
        quote_ident(column)
    };
    let expression = match (from, to.as_str()) {
        ("boolean", to) if number_to => format!("{name}::integer::{to}"),
        (_, "boolean") if number_from => format!("{name} <> 0"),
        (from, to) if times(from) && number_to => format!("extract(epoch FROM {name})::{to}"),
        (_, to) if number_from && to.starts_with("timestamp") => {
            format!("to_timestamp({name})::{to}")
        }
        (_, to) => format!("{name}::text::{to}"),
    };
    // A quote at its beginning would end the value in YAML.
    if plain {
        expression
    } else {
        format!("'{}'", expression.replace('\'', "''"))
    }
}

/// The cast to a type without its modifiers: the assignment that follows
/// applies them, and fails where an explicit cast would cut a value short.
fn cast(column: &str, base: &str, facts: &ExprFacts) -> Expr {
    Expr {
        template: format!("CAST({} AS {base})", column_expr(column).template),
        columns: vec![column.to_owned()],
        volatility: facts.expr.volatility,
    }
}
