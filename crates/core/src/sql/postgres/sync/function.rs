//! The texts of the trigger functions.
//!
//! A comment `-- rule: name` marks the statements of each rule: they are the
//! lines behind it up to the first one with less indentation. Tests take one
//! rule after the other out and show what goes wrong without it.

use std::collections::BTreeSet;

use super::super::image::values;
use super::super::loss::{lost, may_fail};
use super::super::mapping::{
    LOOKUP, all_null, changed, column, differs_from_up, downs, found, in_step, is_referred_to,
    not_given, unfilled, ups,
};
use super::super::raise::{Raised, key_text, raise};
use super::firing::empty;
use super::{CONFLICT_SQLSTATE, conflicts_sequence, count_loss, seen_sequence};
use crate::expr::Expr;
use crate::name::TableName;
use crate::sql::quote::{quote_literal, quote_table};
use crate::step::{Lookup, MappedColumn, Mapping, OnConflict, Rule, Sync};

/// Lines with their indentation.
struct Body {
    text: String,
    depth: usize,
}

impl Body {
    fn new() -> Self {
        Self {
            text: "\n".to_owned(),
            depth: 0,
        }
    }

    fn line(&mut self, line: impl AsRef<str>) {
        let line = line.as_ref();
        if !line.is_empty() {
            self.text.push_str(&"    ".repeat(self.depth));
            self.text.push_str(line);
        }
        self.text.push('\n');
    }

    fn lines(&mut self, lines: &[&str]) {
        for line in lines {
            self.line(line);
        }
    }

    fn indented(&mut self, inner: impl FnOnce(&mut Self)) {
        self.depth += 1;
        inner(self);
        self.depth -= 1;
    }
}

/// What stands between the dollar quotes of the function that knows every rule.
pub(super) fn whole(sync: &Sync, artifact: &str) -> String {
    let looping = share_columns(&sync.mappings);
    let mut body = Body::new();
    body.line(format!(
        "-- Pontoon: keeps the old and the new columns of {} in step while a migration runs.",
        comment_text(&sync.table.to_string())
    ));
    body.lines(&[
        "-- TG_ARGV[0] is 'first' in the trigger before the application's own BEFORE triggers,",
        "-- and 'last' in the one behind them. Nothing but the row itself decides what happens.",
        "-- Values are compared byte by byte as records, so that 1.0 and 1.00 are two values.",
        "-- This function and its triggers go together when the migration ends.",
        "DECLARE",
        "    old_given boolean;           -- this write gives the old columns a value",
        "    new_given boolean;           -- this write gives the new columns a value",
        OLD_WRITE,
    ]);
    if looping {
        body.line("    moved boolean;               -- this pass changed something");
    }
    body.lines(&[NOW, "BEGIN"]);
    body.indented(|body| {
        if looping {
            body.lines(&[
                "-- Some mappings share columns: what one writes, another one reads.",
                &format!("FOR pass IN 1 .. {} LOOP", sync.mappings.len()),
            ]);
            body.indented(|body| {
                body.line("moved := false;");
                mappings(body, sync, artifact, looping);
                body.line("EXIT WHEN NOT moved;");
            });
            body.line("END LOOP;");
        } else {
            mappings(body, sync, artifact, looping);
        }
        note_losses(body, sync, artifact);
        note_old_write(body, artifact);
        body.line("RETURN NEW;");
    });
    body.line("END");
    body.text
}

/// The same of the function that fills what nobody has filled yet: behind the
/// other one, where a write names what that one looks at.
pub(super) fn fill(sync: &Sync, artifact: &str) -> String {
    let mut body = Body::new();
    body.line(format!(
        "-- Pontoon: fills rows of {} that are written and that nobody has filled yet.",
        comment_text(&sync.table.to_string())
    ));
    body.lines(&[
        "-- What a write gives, the dual write's other function has put in step before this one.",
        "-- This function and its trigger go together when the migration ends.",
    ]);
    let tells = writers(sync, false).any(|writer| writer.refilled().is_some());
    if tells {
        body.lines(&["DECLARE", OLD_WRITE, NOW]);
    }
    body.line("BEGIN");
    body.indented(|body| {
        for writer in writers(sync, false) {
            // A dropped column is nobody's to fill but an INSERT's.
            if !matches!(writer.mapping.rule, Rule::Omitted { .. }) {
                writer.headline(body);
                writer.empty(body);
            }
        }
        body.line("");
        note_losses(body, sync, artifact);
        if tells {
            note_old_write(body, artifact);
        }
        body.line("RETURN NEW;");
    });
    body.line("END");
    body.text
}

/// The variables that both functions have, declared.
const OLD_WRITE: &str =
    "    old_write boolean := false;  -- an old application version wrote this row";
const NOW: &str = "    now_ms bigint;";

fn mappings(body: &mut Body, sync: &Sync, artifact: &str, looping: bool) {
    for writer in writers(sync, looping) {
        writer.headline(body);
        match &writer.mapping.rule {
            Rule::Pair { on_conflict, .. } => {
                writer.pair(body, sync, artifact, *on_conflict);
            }
            Rule::Referred { .. } => writer.pair(body, sync, artifact, OnConflict::Error),
            Rule::Fill { .. } => writer.fill(body),
            Rule::Derived { .. } | Rule::Copied { .. } => writer.derived(body),
            Rule::Omitted { .. } => writer.omitted(body),
        }
    }
    body.line("");
}

fn writers(sync: &Sync, looping: bool) -> impl Iterator<Item = Writer<'_>> {
    (1..)
        .zip(&sync.mappings)
        .map(move |(number, mapping)| Writer {
            table: &sync.table,
            number,
            mapping,
            looping,
        })
}

/// Some mapping writes what another one reads or writes.
pub(super) fn share_columns(mappings: &[Mapping]) -> bool {
    let touched = |mapping: &Mapping| -> BTreeSet<String> {
        let named = mapping.old.iter().chain(&mapping.new).map(|c| &c.name);
        let read = ups(mapping)
            .iter()
            .chain(downs(mapping))
            .flat_map(|expr| &expr.columns);
        named.chain(read).cloned().collect()
    };
    let sets: Vec<BTreeSet<String>> = mappings.iter().map(touched).collect();
    sets.iter()
        .enumerate()
        .any(|(i, left)| sets[i + 1..].iter().any(|right| !left.is_disjoint(right)))
}

fn headline(mapping: &Mapping) -> String {
    let old = names(&mapping.old);
    let new = names(&mapping.new);
    let text = match &mapping.rule {
        Rule::Pair { .. } => {
            format!("{old} and {new} follow each other; applications write either.")
        }
        Rule::Fill { .. } if mapping.old.is_empty() => format!("{new} is filled where it is NULL."),
        Rule::Fill { .. } => {
            format!("{new} follows {old}, unless the writer gives it a value.")
        }
        Rule::Copied { twin, .. } => {
            format!("{new} says that the row has a copy in {}.", twin.table)
        }
        Rule::Referred { lookup } => format!(
            "{new} refers to the row of {} that holds {old}; applications write either.",
            lookup.table
        ),
        Rule::Derived { .. } if mapping.old.is_empty() => format!("{new} is always computed."),
        Rule::Derived { .. } => format!("{new} is always computed from {old}."),
        Rule::Omitted { .. } => format!("{old} is filled for writers that know it no more."),
    };
    comment_text(&text)
}

fn names(columns: &[MappedColumn]) -> String {
    let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
    format!("({})", names.join(", "))
}

/// A name may hold a line break, which would end a comment.
fn comment_text(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

struct Writer<'a> {
    table: &'a TableName,
    /// Of the mapping, from 1.
    number: usize,
    mapping: &'a Mapping,
    /// The mappings are repeated until none of them moves anything.
    looping: bool,
}

impl Writer<'_> {
    fn headline(&self, body: &mut Body) {
        body.line("");
        body.line(format!("-- {}. {}", self.number, headline(self.mapping)));
    }

    fn assign(&self, body: &mut Body, columns: &[MappedColumn], expressions: &[Expr]) {
        for (target, expr) in columns.iter().zip(expressions) {
            body.line(format!(
                "{} := {};",
                column("NEW", &target.name),
                expr.on("NEW")
            ));
        }
        if self.looping {
            body.line("moved := true;");
        }
    }

    fn new_follows(&self, body: &mut Body) {
        match &self.mapping.rule {
            Rule::Referred { lookup } => self.reference_follows(body, lookup),
            _ => self.assign(body, &self.mapping.new, ups(self.mapping)),
        }
    }

    fn old_follows(&self, body: &mut Body) {
        match &self.mapping.rule {
            Rule::Referred { lookup } => self.values_follow(body, lookup),
            _ => self.assign(body, &self.mapping.old, downs(self.mapping)),
        }
    }

    /// What nobody has added yet is added when the transaction commits.
    fn reference_follows(&self, body: &mut Body, lookup: &Lookup) {
        for reference in &self.mapping.new {
            body.line(format!(
                "{} := {};",
                column("NEW", &reference.name),
                found(self.mapping, lookup, "NEW")
            ));
        }
        if self.looping {
            body.line("moved := true;");
        }
    }

    /// The foreign key comes at contract; until then no row of the lookup table
    /// changes or goes, so what is found here stays right.
    fn values_follow(&self, body: &mut Body, lookup: &Lookup) {
        let Mapping { old, new, .. } = self.mapping;
        body.line(format!(
            "SELECT {} INTO {}",
            values(old, LOOKUP).join(", "),
            values(old, "NEW").join(", ")
        ));
        body.line(format!(
            "FROM ONLY {} AS {LOOKUP} WHERE {};",
            quote_table(&lookup.table),
            is_referred_to(self.mapping, lookup, "NEW")
        ));
        body.line(format!(
            "IF NOT FOUND AND NOT {} THEN",
            all_null(new, "NEW")
        ));
        body.indented(|body| {
            body.lines(&[
                "IF pg_catalog.current_setting('transaction_isolation') <> 'read committed' THEN",
                "    -- It may have been added since this transaction began.",
            ]);
            body.line(format!("    {}", self.unseen(lookup)));
            body.line("END IF;");
            body.line(self.missing(lookup));
        });
        body.line("END IF;");
        if self.looping {
            body.line("moved := true;");
        }
    }

    /// `RAISE EXCEPTION` as the foreign key will.
    fn missing(&self, lookup: &Lookup) -> String {
        raise(&Raised {
            code: "23503",
            message: &format!(
                "insert or update on table \"{}\" violates foreign key constraint \"{}\"",
                self.table.name, lookup.foreign_key
            ),
            detail: &format!(
                "pg_catalog.concat({}, {})",
                key_text(&self.mapping.new, "NEW"),
                quote_literal(&format!(
                    " is not present in table \"{}\".",
                    lookup.table.name
                ))
            ),
            table: self.table,
            constraint: &lookup.foreign_key,
        })
    }

    fn unseen(&self, lookup: &Lookup) -> String {
        raise(&Raised {
            code: "40001",
            message: "could not serialize access: the row that is referred to is not in this transaction's snapshot",
            detail: &format!(
                "pg_catalog.concat({}, {})",
                key_text(&self.mapping.new, "NEW"),
                quote_literal(&format!(" of {}.", lookup.table))
            ),
            table: self.table,
            constraint: &lookup.foreign_key,
        })
    }

    fn pair(&self, body: &mut Body, sync: &Sync, artifact: &str, on_conflict: OnConflict) {
        let unfilled = unfilled(self.mapping, "NEW");
        body.line(format!(
            "IF {unfilled}\n{}OR NOT {} THEN",
            "    ".repeat(body.depth),
            in_step(self.mapping, "NEW")
        ));
        body.indented(|body| {
            self.given(body);
            body.line("IF TG_ARGV[0] = 'last' THEN");
            body.indented(|body| {
                body.lines(&[
                    "-- rule: last",
                    "-- A trigger of the application changed the row, and knows the old columns only.",
                    "IF old_given OR new_given THEN",
                ]);
                body.indented(|body| self.new_follows(body));
                body.line("END IF;");
            });
            body.line("ELSIF old_given AND NOT new_given THEN");
            body.indented(|body| {
                body.line("-- rule: forward");
                self.new_follows(body);
                body.line("old_write := true;");
            });
            body.line("ELSIF new_given AND NOT old_given THEN");
            body.indented(|body| {
                body.line("-- rule: backward");
                self.old_follows(body);
            });
            body.line("ELSIF old_given AND new_given THEN");
            body.indented(|body| self.conflict(body, sync, artifact, on_conflict));
            body.lines(&[
                "END IF;",
                "-- rule: heal",
                "-- Nobody has filled this row yet, or a NULL was written that the old columns gainsay.",
            ]);
            body.line(format!("IF {unfilled} THEN"));
            body.indented(|body| self.new_follows(body));
            body.line("END IF;");
        });
        body.line("END IF;");
    }

    /// An UPDATE left the row empty that names none of the columns that it is
    /// filled from. Where `up` gives NULL, NULL is what it keeps.
    fn empty(&self, body: &mut Body) {
        body.line("-- rule: empty");
        body.line(format!("IF {} THEN", empty(self.mapping)));
        body.indented(|body| {
            self.new_follows(body);
            if let Some(refilled) = self.refilled() {
                body.line(format!("IF {refilled} THEN"));
                body.line("    old_write := true;");
                body.line("END IF;");
            }
        });
        body.line("END IF;");
    }

    /// Which of its two groups a write gives a value.
    fn given(&self, body: &mut Body) {
        let Mapping { old, new, .. } = self.mapping;
        let old_null = all_null(old, "NEW");
        let new_null = all_null(new, "NEW");
        let has_default = |columns: &[MappedColumn]| columns.iter().any(|c| c.default.is_some());
        body.line("IF TG_OP = 'INSERT' THEN");
        body.indented(|body| {
            if has_default(new) {
                body.lines(&[
                    "-- A default stands there for a writer who left the column out, too.",
                    &format!(
                        "new_given := NOT {} OR ({old_null} AND NOT {new_null});",
                        not_given(new, "NEW")
                    ),
                ]);
            } else {
                body.line(format!("new_given := NOT ({new_null});"));
            }
            if has_default(old) {
                body.lines(&[
                    "-- The default may stand there because the writer knows the new columns only.",
                    &format!(
                        "old_given := NOT ({old_null}) AND NOT (new_given AND {});",
                        not_given(old, "NEW")
                    ),
                ]);
            } else {
                body.line(format!("old_given := NOT ({old_null});"));
            }
        });
        body.line("ELSE");
        body.indented(|body| {
            body.line(format!("old_given := {};", changed(old, "NEW", "OLD")));
            body.line(format!("new_given := {};", changed(new, "NEW", "OLD")));
        });
        body.line("END IF;");
    }

    fn conflict(&self, body: &mut Body, sync: &Sync, artifact: &str, on_conflict: OnConflict) {
        body.line("-- rule: conflict");
        body.line(format!(
            "PERFORM pg_catalog.nextval({}::pg_catalog.regclass);",
            quote_literal(&conflicts_sequence(artifact))
        ));
        match on_conflict {
            OnConflict::New => self.old_follows(body),
            OnConflict::Old => {
                self.new_follows(body);
                body.line("old_write := true;");
            }
            OnConflict::Error => {
                let old = names(&self.mapping.old);
                let new = names(&self.mapping.new);
                body.line("RAISE EXCEPTION USING");
                body.indented(|body| {
                    let detail = format!(
                        "Both {old} and {new} were given, and neither follows from the other."
                    );
                    let hint = format!(
                        "A migration keeps these columns in step. Write {old} or {new}, or both \
                         consistently; a row copied as a whole must leave out the columns that \
                         its writer does not know."
                    );
                    let message = format!(
                        "old and new columns of {} contradict each other in this write",
                        sync.table
                    );
                    body.line(format!("ERRCODE = '{CONFLICT_SQLSTATE}',"));
                    body.line(format!("MESSAGE = {},", quote_literal(&message)));
                    body.line(format!("DETAIL = {},", quote_literal(&detail)));
                    body.line(format!("HINT = {},", quote_literal(&hint)));
                    body.line("SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME;");
                });
            }
        }
    }

    fn fill(&self, body: &mut Body) {
        let mapping = self.mapping;
        if !mapping.old.is_empty() {
            let new_changed = changed(&mapping.new, "NEW", "OLD");
            body.line("IF TG_OP = 'UPDATE' THEN");
            body.indented(|body| {
                body.line("-- rule: follow");
                body.line(format!(
                    "IF {} AND NOT {new_changed}",
                    changed(&mapping.old, "NEW", "OLD")
                ));
                body.line(format!("AND {} THEN", differs_from_up(mapping, "NEW")));
                body.indented(|body| {
                    self.new_follows(body);
                    body.line("old_write := true;");
                });
                body.line("END IF;");
            });
            body.line("END IF;");
        }
        body.lines(&[
            "-- rule: fill",
            "-- The writer left it out, or nobody has filled this row yet.",
            &format!("IF {} THEN", unfilled(mapping, "NEW")),
        ]);
        body.indented(|body| {
            self.new_follows(body);
            body.line("IF TG_OP = 'INSERT' THEN");
            body.line("    old_write := true;");
            if let Some(refilled) = self.refilled() {
                body.line(format!("ELSIF {refilled} THEN"));
                body.line("    old_write := true;");
            }
            body.line("END IF;");
        });
        body.line("END IF;");
    }

    /// Where a column is filled from nothing, no old column tells who wrote the
    /// row: whoever has it filled may be an old version.
    fn refilled(&self) -> Option<String> {
        let Mapping { old, new, rule, .. } = self.mapping;
        let filled = matches!(rule, Rule::Fill { .. }) && old.is_empty();
        filled.then(|| changed(new, "NEW", "OLD"))
    }

    fn derived(&self, body: &mut Body) {
        body.line("-- rule: derived");
        body.line(format!("IF {} THEN", differs_from_up(self.mapping, "NEW")));
        body.indented(|body| self.new_follows(body));
        body.line("END IF;");
    }

    fn omitted(&self, body: &mut Body) {
        body.line("IF TG_OP = 'INSERT' THEN");
        body.indented(|body| {
            body.line("-- rule: omitted");
            for (old, down) in self.mapping.old.iter().zip(downs(self.mapping)) {
                let target = column("NEW", &old.name);
                body.line(format!("IF {target} IS NOT DISTINCT FROM NULL THEN"));
                body.indented(|body| {
                    body.line(format!("{target} := {};", down.on("NEW")));
                    if self.looping {
                        body.line(format!("moved := moved OR {target} IS DISTINCT FROM NULL;"));
                    }
                });
                body.line("END IF;");
            }
        });
        body.line("END IF;");
    }
}

/// Where a type may lose: the writer is let pass, and the proof is not.
fn note_losses(body: &mut Body, sync: &Sync, artifact: &str) {
    for mapping in &sync.mappings {
        let Some(lost) = lost(mapping, "NEW") else {
            continue;
        };
        let note = |body: &mut Body| {
            for statement in count_loss(artifact) {
                body.line(statement);
            }
        };
        body.lines(&[
            "-- rule: lost",
            "-- The old value is not found again in the new one. No writer is troubled with that: the",
            "-- next verify pass names the row, and one from before proves nothing any more. The lock,",
            "-- which nobody waits for, tells such a pass of a writer that has not committed yet.",
        ]);
        // Only the last one sees what the application's triggers have left.
        let last = match sync.application_triggers {
            true => "TG_ARGV[0] = 'last' AND ",
            false => "",
        };
        let look = |body: &mut Body| {
            body.line(format!("IF {last}{lost} THEN"));
            body.indented(note);
            body.line("END IF;");
        };
        if may_fail(mapping) {
            body.line("BEGIN");
            body.indented(look);
            body.line("EXCEPTION WHEN OTHERS THEN");
            body.indented(note);
            body.line("END;");
        } else {
            look(body);
        }
    }
}

fn note_old_write(body: &mut Body, artifact: &str) {
    let sequence = quote_literal(&seen_sequence(artifact));
    body.line("IF old_write THEN");
    body.indented(|body| {
        body.lines(&[
            "-- rule: seen",
            "-- The time of the last write of an old version, at most once a second. A sequence",
            "-- takes no row lock, and keeps its value when the writer rolls back.",
            "now_ms := (EXTRACT(epoch FROM pg_catalog.clock_timestamp()) * 1000)::bigint;",
            &format!(
                "IF COALESCE(pg_catalog.pg_sequence_last_value({sequence}::pg_catalog.regclass), 0)"
            ),
            "    NOT BETWEEN now_ms - 1000 AND now_ms THEN",
            &format!("    PERFORM pg_catalog.setval({sequence}::pg_catalog.regclass, now_ms);"),
            "END IF;",
        ]);
    });
    body.line("END IF;");
}
