//! What can be said of a plan's SQL without a database.
//!
//! Two readers work together. A small scanner knows words, quotes and
//! comments as PostgreSQL does (with `standard_conforming_strings`); it finds
//! separators, comments and transaction control, and bounds what the parser
//! is given, for a recursive parser must not be fed a thousand parentheses.
//! The parser of squawk then judges the syntax. Whether names exist, types
//! fit and functions are safe is the database's to say.

mod scan;

use std::ops::Range;

use squawk_syntax::SourceFile;

use scan::{Token, TokenKind, tokens};

/// The most words and signs that are parsed. The parser recurses at most once
/// for each; this many fit into the smallest stack we run on, twice over.
const MAX_TOKENS: usize = 2_000;

/// What is wrong with a text, and where in it, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: Range<usize>,
    pub(crate) message: String,
    pub(crate) expected: String,
    pub(crate) help: Option<String>,
}

impl Fault {
    fn new(at: Range<usize>, message: &str, expected: impl Into<String>) -> Self {
        Self {
            at,
            message: message.to_owned(),
            expected: expected.into(),
            help: None,
        }
    }

    fn help(mut self, text: &str) -> Self {
        self.help = Some(text.to_owned());
        self
    }
}

/// Judges one expression. `None`: nothing to say without a database.
pub(crate) fn expression_fault(text: &str) -> Option<Fault> {
    const INVALID: &str = "this is not one SQL expression";
    let all = tokens(text);
    if all.is_empty() {
        return Some(Fault::new(
            0..text.len(),
            "the expression is empty",
            "expected SQL",
        ));
    }
    if all.len() > MAX_TOKENS {
        return Some(
            Fault::new(0..text.len(), "the expression is too long", "")
                .help("put it into a function of yours and call that"),
        );
    }
    for token in &all {
        if token.kind == TokenKind::Comment {
            return Some(
                Fault::new(
                    token.range(),
                    "a comment stands inside an expression",
                    "remove it",
                )
                .help("comment in YAML, with `#`: an expression is put into other statements"),
            );
        }
        if token.is_sign(";") {
            return Some(
                Fault::new(token.range(), INVALID, "a statement would end here")
                    .help("for whole statements there is the operation `sql`"),
            );
        }
        if token.text.to_lowercase().contains(crate::expr::ROW) {
            return Some(Fault::new(
                token.range(),
                "an expression may not contain `pontoon_row`",
                "Pontoon puts that name into expressions itself",
            ));
        }
    }
    let mut depth = 0usize;
    for token in &all {
        if token.is_sign("(") {
            depth += 1;
        } else if token.is_sign(")") {
            let Some(less) = depth.checked_sub(1) else {
                return Some(Fault::new(
                    token.range(),
                    INVALID,
                    "nothing was opened before this",
                ));
            };
            depth = less;
        }
    }
    const BEFORE: &str = "SELECT (";
    if let Some(fault) = parse_fault(&format!("{BEFORE}{text}\n)"), BEFORE.len(), text, INVALID) {
        return Some(fault);
    }
    shape_fault(&all)
}

/// What an expression over one row may not be.
fn shape_fault(all: &[Token<'_>]) -> Option<Fault> {
    const ROW_ONLY: &str = "an expression may read only the row it stands in";
    let mut depth = 0usize;
    for (index, token) in all.iter().enumerate() {
        let is_call = all.get(index + 1).is_some_and(|next| next.is_sign("("));
        let after_dot = index > 0 && all[index - 1].is_sign(".");
        if token.is_sign("(") || token.is_sign("[") {
            depth += 1;
        } else if token.is_sign(")") || token.is_sign("]") {
            depth = depth.saturating_sub(1);
        } else if token.is_sign(",") && depth == 0 {
            return Some(Fault::new(
                token.range(),
                "this is a list, not one SQL expression",
                "a second value begins here",
            ));
        } else if token.is("select") && !after_dot {
            return Some(
                Fault::new(token.range(), ROW_ONLY, "a subquery reads other rows")
                    .help("bring the value into the row first, or call a function of yours"),
            );
        } else if token.is("over") && is_call && !after_dot {
            return Some(Fault::new(
                token.range(),
                ROW_ONLY,
                "a window reads other rows",
            ));
        } else if is_aggregate(token) && is_call && !after_dot {
            return Some(Fault::new(
                token.range(),
                ROW_ONLY,
                "an aggregate reads other rows",
            ));
        }
    }
    None
}

/// Aggregates that nobody shadows; the database finds the others.
fn is_aggregate(token: &Token<'_>) -> bool {
    [
        "count",
        "sum",
        "avg",
        "min",
        "max",
        "array_agg",
        "string_agg",
        "jsonb_agg",
        "json_agg",
    ]
    .iter()
    .any(|name| token.is(name))
}

/// Judges the name of a type.
pub(crate) fn type_fault(text: &str) -> Option<Fault> {
    const INVALID: &str = "this is not the name of a type";
    let all = tokens(text);
    let Some(first) = all.first() else {
        return Some(Fault::new(
            0..text.len(),
            "the type is empty",
            "expected a type",
        ));
    };
    let foreign = all.iter().find(|token| {
        matches!(token.kind, TokenKind::Comment | TokenKind::Text)
            || token.kind == TokenKind::Sign && !"()[].,%-".contains(token.text)
    });
    if let Some(token) = foreign {
        return Some(Fault::new(token.range(), INVALID, "expected a type alone"));
    }
    for (serial, plain) in [
        ("smallserial", "smallint"),
        ("serial", "integer"),
        ("bigserial", "bigint"),
    ] {
        if all.len() == 1 && first.is(serial) {
            return Some(
                Fault::new(
                    first.range(),
                    &format!("`{serial}` is a shorthand, not a type"),
                    format!("`{plain}` is the type"),
                )
                .help(&format!(
                    "in `create_table` write `type: {plain}, identity: by_default`"
                )),
            );
        }
    }
    let extra = all.iter().find(|token| {
        [
            "not",
            "null",
            "default",
            "primary",
            "unique",
            "references",
            "check",
            "generated",
            "collate",
        ]
        .iter()
        .any(|word| token.is(word))
    });
    if let Some(token) = extra {
        return Some(
            Fault::new(token.range(), INVALID, "expected a type alone")
                .help("constraints and defaults have keys of their own"),
        );
    }
    if all.len() > MAX_TOKENS {
        return Some(Fault::new(0..text.len(), INVALID, "expected a type alone"));
    }
    const BEFORE: &str = "SELECT (CAST(NULL AS ";
    parse_fault(&format!("{BEFORE}{text}\n))"), BEFORE.len(), text, INVALID)
}

/// Judges statements that will run in one transaction of ours.
pub(crate) fn statements_fault(text: &str) -> Option<Fault> {
    let all: Vec<Token<'_>> = tokens(text)
        .into_iter()
        .filter(|token| token.kind != TokenKind::Comment)
        .collect();
    if all.iter().all(|token| token.is_sign(";")) {
        return Some(Fault::new(
            0..text.len(),
            "there is no statement",
            "expected SQL",
        ));
    }
    let has_body = all.iter().any(|token| token.is("atomic"));
    let mut starts = true;
    for (index, token) in all.iter().enumerate() {
        if starts {
            let next = all.get(index + 1);
            if let Some(fault) = statement_fault(token, next, has_body) {
                return Some(fault);
            }
        }
        if token.is("concurrently") {
            return Some(concurrently(token, &all));
        }
        starts = token.is_sign(";");
    }
    if all.len() > MAX_TOKENS {
        return None;
    }
    parse_fault(text, 0, text, "this is not valid SQL")
}

/// A statement without a semicolon at its end, so that it can stand in
/// brackets.
pub(crate) fn query_body(text: &str) -> &str {
    let last = tokens(text)
        .into_iter()
        .rfind(|token| token.kind != TokenKind::Comment);
    match last {
        Some(token) if token.is_sign(";") => &text[..token.at],
        _ => text,
    }
}

/// Judges one statement that only reads.
pub(crate) fn query_fault(text: &str) -> Option<Fault> {
    const INVALID: &str = "this is not one SELECT";
    let all: Vec<Token<'_>> = tokens(text)
        .into_iter()
        .filter(|token| token.kind != TokenKind::Comment)
        .collect();
    let Some(first) = all.first() else {
        return Some(Fault::new(
            0..text.len(),
            "the query is empty",
            "expected a SELECT",
        ));
    };
    if !["select", "with", "values", "table"]
        .iter()
        .any(|word| first.is(word))
        && !first.is_sign("(")
    {
        return Some(Fault::new(first.range(), INVALID, "expected SELECT"));
    }
    let last = all.len() - 1;
    if let Some(token) = all[..last].iter().find(|token| token.is_sign(";")) {
        return Some(Fault::new(
            token.range(),
            INVALID,
            "a second statement would begin here",
        ));
    }
    const BEFORE: &str = "SELECT * FROM (";
    if all.len() > MAX_TOKENS {
        return None;
    }
    parse_fault(
        &format!("{BEFORE}{}\n) AS q", query_body(text)),
        BEFORE.len(),
        text,
        "this is not valid SQL",
    )
}

/// Statements that cannot run inside our transaction, by their first words.
fn statement_fault(first: &Token<'_>, next: Option<&Token<'_>>, has_body: bool) -> Option<Fault> {
    let next_is = |word: &str| next.is_some_and(|token| token.is(word));
    let control = [
        "begin",
        "commit",
        "rollback",
        "savepoint",
        "abort",
        "release",
    ];
    let controls = control.iter().any(|word| first.is(word))
        || first.is("start") && next_is("transaction")
        || first.is("prepare") && next_is("transaction")
        // `END` closes the body of a function as well (BEGIN ATOMIC … END).
        || first.is("end") && !has_body;
    if controls {
        return Some(
            Fault::new(
                first.range(),
                "transaction control has no place here",
                "the statements run in one transaction of Pontoon's",
            )
            .help("remove it; use one `sql` operation for each transaction"),
        );
    }
    let alone = first.is("vacuum")
        || (first.is("create") || first.is("drop"))
            && (next_is("database") || next_is("tablespace") || next_is("subscription"))
        || first.is("alter") && next_is("system")
        || first.is("discard");
    if alone {
        return Some(
            Fault::new(
                first.range(),
                "this statement cannot run inside a transaction",
                "the statements run in one transaction of Pontoon's",
            )
            .help("run it by hand, outside the plan"),
        );
    }
    let session =
        first.is("set") && !next_is("local") && !next_is("constraints") || first.is("reset");
    if session {
        return Some(
            Fault::new(
                first.range(),
                "this setting would outlive its transaction",
                "expected SET LOCAL",
            )
            .help("write `SET LOCAL …`: the connection is used again"),
        );
    }
    None
}

/// `CONCURRENTLY` cannot run in a transaction; most uses have an operation.
fn concurrently(token: &Token<'_>, all: &[Token<'_>]) -> Fault {
    let before = |word: &str| {
        all.iter()
            .take_while(|other| other.at < token.at)
            .any(|other| other.is(word))
    };
    let way_out = if before("index") && before("create") {
        "use the operation `add_index`: it builds concurrently"
    } else if before("index") && before("drop") {
        "use the operation `drop_index`: it drops concurrently"
    } else {
        "run it by hand, outside the plan"
    };
    Fault::new(
        token.range(),
        "CONCURRENTLY cannot run inside a transaction",
        "the statements run in one transaction of Pontoon's",
    )
    .help(way_out)
}

/// The parser's first complaint about `whole`, placed in `text`, which begins
/// at `shift`.
fn parse_fault(whole: &str, shift: usize, text: &str, message: &str) -> Option<Fault> {
    let errors = SourceFile::parse(whole).errors();
    // What stands in a string, such as a function's body, is the server's to
    // judge: its language may be any.
    let strings: Vec<Range<usize>> = tokens(whole)
        .iter()
        .filter(|token| token.kind == TokenKind::Text)
        .map(Token::range)
        .collect();
    let error = errors.iter().find(|error| {
        let at = usize::from(error.range().start());
        let unclosed = error.message().starts_with("Missing trailing");
        unclosed
            || !strings
                .iter()
                .any(|string| string.start < at && at < string.end)
    })?;
    let start = usize::from(error.range().start()).saturating_sub(shift);
    let found = tokens(text)
        .into_iter()
        .find(|token| token.at + token.text.len() > start);
    Some(match found {
        _ if error.message().starts_with("Missing trailing") => {
            let at = start.min(text.len());
            Fault::new(at..text.len(), message, "this quote is never closed")
        }
        Some(token) => {
            let shown: String = token.text.chars().take(30).collect();
            Fault::new(token.range(), message, format!("unexpected `{shown}`"))
        }
        None => Fault::new(
            text.trim_end().len()..text.len(),
            message,
            "it ends too early",
        ),
    })
}

/// The columns that an expression may read, each with its place: every name
/// that is no function and no part of a longer name.
pub(crate) fn column_names(text: &str) -> Vec<(String, Range<usize>)> {
    let all = tokens(text);
    let mut found = Vec::new();
    for (index, token) in all.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|index| all.get(index));
        let after = all.get(index + 1);
        let called = after.is_some_and(|next| next.is_sign("("));
        let part = before.is_some_and(|token| token.is_sign("."))
            || after.is_some_and(|token| token.is_sign("."));
        let cast = before.is_some_and(|token| token.is_sign(":") || token.is("as"));
        if !called
            && !part
            && !cast
            && let Some(column) = token.column()
        {
            found.push((column, token.range()));
        }
    }
    found
}

/// The text is one bare name that SQL does not know as a value: the author of
/// a default probably meant a text constant.
pub(crate) fn is_lone_name(text: &str) -> bool {
    const VALUES: [&str; 14] = [
        "null",
        "true",
        "false",
        "current_timestamp",
        "current_date",
        "current_time",
        "localtime",
        "localtimestamp",
        "current_user",
        "session_user",
        "user",
        "current_role",
        "current_catalog",
        "current_schema",
    ];
    match tokens(text).as_slice() {
        [only] if only.kind == TokenKind::Word => {
            !only.text.starts_with(|c: char| c.is_ascii_digit())
                && !VALUES.iter().any(|word| only.is(word))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(fault: Option<Fault>, text: &str) -> Option<(String, String)> {
        fault.map(|fault| (text[fault.at.clone()].to_owned(), fault.message))
    }

    #[test]
    fn expressions_that_the_database_shall_judge() {
        for text in [
            "lower(email)",
            "0",
            "NULL",
            "'it''s'",
            "E'a\\'b'",
            "coalesce(a, b)::numeric(10,2)",
            "CASE WHEN a > 0 THEN 'x' ELSE \"Odd Name\" END",
            "data #>> '{a,b}'",
            "a AT TIME ZONE 'UTC'",
            "ARRAY[1, 2, 3]",
            "(ROW(a, b)).f1",
            "now() - interval '1 day'",
            "status IS DISTINCT FROM 'open'",
            "email ~* '^[^@]+@[^@]+$'",
            "substring(name from 1 for 3)",
            "$$a;b--c$$",
            "a <@ b AND NOT c",
            "position(' ' in full_name)",
        ] {
            assert_eq!(expression_fault(text), None, "{text}");
        }
    }

    #[test]
    fn expressions_that_cannot_be() {
        let cases = [
            ("a; DROP TABLE b", ";"),
            ("a) ; (b", ";"),
            ("a)", ")"),
            ("a) OR (b", ")"),
            ("a -- b", "-- b"),
            ("a /* b */ + c", "/* b */"),
            ("pontoon_row.a", "pontoon_row"),
            ("\"Pontoon_Row\"", "\"Pontoon_Row\""),
            ("a b", "b"),
            ("(SELECT 1)", "SELECT"),
            ("sum(a) OVER ()", "sum"),
            ("row_number() OVER ()", "OVER"),
            ("max(a)", "max"),
            ("a, b", ","),
            ("'abc", "'abc"),
            ("", ""),
        ];
        for (text, place) in cases {
            let (found, _) = says(expression_fault(text), text).expect(text);
            assert_eq!(found, place, "{text}");
        }
        let fault = expression_fault("a +").expect("incomplete");
        assert_eq!(fault.expected, "it ends too early");
        let deep = format!("{}1{}", "(".repeat(50_000), ")".repeat(50_000));
        assert_eq!(
            expression_fault(&deep).expect("long").message,
            "the expression is too long"
        );
    }

    #[test]
    fn types() {
        for text in [
            "text",
            "numeric(10, 2)",
            "character varying(20)[]",
            "timestamp with time zone",
            "\"My Schema\".\"My Type\"",
            "int4[3]",
            "bit varying(3)",
            "double precision",
            "interval day to second(3)",
            "numeric(3, -2)",
            "public.mood",
        ] {
            assert_eq!(type_fault(text), None, "{text}");
        }
        for text in [
            "text; drop table x",
            "text NOT NULL",
            "text) --",
            "serial",
            "",
            "text text text(",
            "text default 1",
        ] {
            assert!(type_fault(text).is_some(), "{text}");
        }
    }

    #[test]
    fn statements_that_fit_into_a_transaction() {
        for text in [
            "CREATE EXTENSION IF NOT EXISTS pg_trgm",
            "SET LOCAL work_mem = '64MB'; UPDATE a SET b = 1 WHERE c;",
            "CREATE FUNCTION f(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN i; END $$;",
            "CREATE FUNCTION g() RETURNS int BEGIN ATOMIC SELECT 1; END; SELECT g()",
            "DO $$ BEGIN PERFORM 1; END $$",
            "-- say so\nGRANT SELECT ON a TO b",
            "INSERT INTO log VALUES ('BEGIN; COMMIT')",
            "CREATE VIEW v AS SELECT 1 AS begin",
        ] {
            assert_eq!(statements_fault(text), None, "{text}");
        }
        let long = "INSERT INTO a VALUES (1);".repeat(1000);
        assert_eq!(statements_fault(&long), None);
    }

    #[test]
    fn statements_that_do_not() {
        let cases = [
            ("BEGIN; SELECT 1; COMMIT", "BEGIN"),
            ("SELECT 1; /* x */ commit", "commit"),
            ("START TRANSACTION", "START"),
            ("CREATE INDEX CONCURRENTLY i ON t (a)", "CONCURRENTLY"),
            ("VACUUM t", "VACUUM"),
            ("SET work_mem = '1GB'", "SET"),
            ("SELEC 1", "SELEC"),
            ("  ;; ", "  ;; "),
        ];
        for (text, place) in cases {
            let (found, _) = says(statements_fault(text), text).expect(text);
            assert_eq!(found, place, "{text}");
        }
        let fault = statements_fault("DROP INDEX CONCURRENTLY i").expect("refused");
        assert!(fault.help.expect("a way out").contains("drop_index"));
    }

    #[test]
    fn names_that_an_expression_reads() {
        let names: Vec<String> = column_names("lower(Email) || \"Odd\"::text || t.x")
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["email", "Odd"]);
        assert!(is_lone_name("pending"));
        assert!(!is_lone_name("NULL"));
        assert!(!is_lone_name("'pending'"));
        assert!(!is_lone_name("42"));
        assert!(!is_lone_name("now()"));
    }
}
