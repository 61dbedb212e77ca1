//! The kinds of text that a plan holds, each named by a `format` in the
//! schema: the field that declares `format: identifier` is checked here, has
//! it in the JSON Schema, and needs no code of its own.

use std::time::Duration;

use super::diagnostic::{Diagnostic, SourceText, similar};
use super::node::{Kind, Node, Style};
use super::signals::{HttpAddress, HttpFault, Unit};
use super::sql_text::{self, Fault};

/// PostgreSQL cuts names at this many bytes, silently.
const MAX_NAME: usize = 63;
/// The longest duration: more is a slip, such as `30M` (months).
const MAX_TIME: Duration = Duration::from_secs(366 * 24 * 3600);

/// What a plan may acknowledge, with the form it takes.
pub(crate) const ACKNOWLEDGEABLE: [(&str, &str); 3] = [
    ("publication", "publication:NAME"),
    ("standby", "standby"),
    ("trigger", "trigger:NAME"),
];

/// Checks a scalar against a format; findings go to `out`. `label` names the
/// field in messages. Unknown formats accept everything.
pub(crate) fn check(
    format: &str,
    node: &Node,
    label: &str,
    source: &SourceText,
    out: &mut Vec<Diagnostic>,
) {
    let Kind::Scalar(text, _) = &node.kind else {
        return;
    };
    let report = Report {
        node,
        source,
        label,
    };
    let finding = match format {
        "identifier" => report.name(text),
        "schema-name" => report.schema(text),
        "enum-label" => report.label(text),
        "qualified-name" => report.qualified(text),
        "plan-name" => report.plan_name(text),
        "digits" => report.digits(text),
        "time-span" => report.time(text),
        "sql-expression" => report.sql(sql_text::expression_fault(text)),
        "sql-type" => report.sql(sql_text::type_fault(text)),
        "sql-statements" => report.sql(sql_text::statements_fault(text)),
        "sql-undo" if text.trim() == "nothing" => None,
        "sql-undo" => {
            report
                .sql(sql_text::statements_fault(text))
                .map(|finding| match finding.help {
                    Some(_) => finding,
                    None => finding
                        .help("write `nothing`, `{impossible: why}`, or SQL that takes it back"),
                })
        }
        "acknowledgement" => report.acknowledgement(text),
        "environment-variable" => report.variable(text),
        "http-url" => report.http_url(text),
        "sql-query" => report.sql(sql_text::query_fault(text)),
        "file-path" if text.contains('\0') => Some(report.finding(format!("{label} is no path"))),
        _ if Unit::of_format(format).is_some() => {
            Unit::of_format(format).and_then(|unit| report.amount(unit, text))
        }
        _ => None,
    };
    out.extend(finding);
}

struct Report<'a> {
    node: &'a Node,
    source: &'a SourceText,
    label: &'a str,
}

impl Report<'_> {
    fn finding(&self, message: impl Into<String>) -> Diagnostic {
        self.source.finding(&self.node.span, message)
    }

    fn name(&self, text: &str) -> Option<Diagnostic> {
        let label = self.label;
        if text.is_empty() {
            return Some(
                self.finding(format!("{label} is empty"))
                    .expected("expected a name"),
            );
        }
        if text.chars().any(char::is_control) {
            return Some(
                self.finding(format!("{label} holds a control character"))
                    .expected("expected a name"),
            );
        }
        if text.len() > MAX_NAME {
            return Some(
                self.finding(format!("{label} is {} bytes long", text.len()))
                    .expected(format!("PostgreSQL cuts names at {MAX_NAME} bytes")),
            );
        }
        if text.to_lowercase().starts_with("_pontoon_") {
            return Some(
                self.finding(format!("{label} begins with `_pontoon_`"))
                    .expected("such names are Pontoon's own"),
            );
        }
        None
    }

    fn label(&self, text: &str) -> Option<Diagnostic> {
        let label = self.label;
        if text.contains('\0') {
            return Some(self.finding(format!("{label} holds a NUL character")));
        }
        (text.len() > MAX_NAME).then(|| {
            self.finding(format!("{label} is {} bytes long", text.len()))
                .expected(format!("an enum's label has at most {MAX_NAME} bytes"))
        })
    }

    fn schema(&self, text: &str) -> Option<Diagnostic> {
        if let Some(finding) = self.name(text) {
            return Some(finding);
        }
        let owner = match text {
            "pontoon" => "Pontoon keeps its own records there",
            "information_schema" => "it belongs to PostgreSQL",
            _ if text.starts_with("pg_") => "it belongs to PostgreSQL",
            _ => return None,
        };
        Some(
            self.finding(format!("schema `{text}` cannot be changed by a plan"))
                .expected(owner),
        )
    }

    fn qualified(&self, text: &str) -> Option<Diagnostic> {
        let Some((schema, name)) = text.split_once('.') else {
            return self.name(text);
        };
        if schema.is_empty() || name.is_empty() {
            return Some(
                self.finding(format!("{} `{text}` lacks a part", self.label))
                    .expected("expected `name` or `schema.name`")
                    .help("a name that holds a dot itself is written `{name: \"a.b\"}`"),
            );
        }
        self.schema(schema).or_else(|| self.name(name))
    }

    fn plan_name(&self, text: &str) -> Option<Diagnostic> {
        let fits =
            !text.trim().is_empty() && text.len() <= 200 && !text.chars().any(char::is_control);
        (!fits).then(|| {
            self.finding(format!("{} is no name for a plan", self.label))
                .expected("expected one line of at most 200 bytes")
        })
    }

    fn digits(&self, text: &str) -> Option<Diagnostic> {
        let fits =
            !text.is_empty() && text.len() <= 100 && text.bytes().all(|b| b.is_ascii_digit());
        (!fits).then(|| {
            self.finding(format!("{} must be digits", self.label))
                .expected("expected digits alone, such as 20261120101500")
        })
    }

    fn time(&self, text: &str) -> Option<Diagnostic> {
        let message = format!("{} {}", self.label, time_span(text).err()?);
        let unit: String = text
            .chars()
            .filter(|c| !c.is_ascii_digit() && *c != '.')
            .collect();
        let help = match unit.trim() {
            "M" => Some("`M` is months; minutes are `m`"),
            "" if !text.is_empty() => Some("a time needs a unit: `500ms`, `10s`, `30m`, `2h`"),
            _ => None,
        };
        let finding = self
            .finding(message)
            .expected("expected a time such as 500ms, 10s, 30m, 2h");
        Some(match help {
            Some(help) => finding.help(help),
            None => finding,
        })
    }

    fn amount(&self, unit: Unit, text: &str) -> Option<Diagnostic> {
        let why = unit.read(text).err()?;
        let finding = self
            .finding(format!("{} {why}", self.label))
            .expected(format!(
                "expected {} such as {}",
                unit.name(),
                unit.example()
            ));
        let bare = text.trim();
        let help = match unit {
            Unit::Percent if unit.read(&format!("{bare}%")).is_ok() => format!("write `{bare}%`"),
            Unit::Rate if unit.read(&format!("{bare}/s")).is_ok() => format!("write `{bare}/s`"),
            _ => return Some(finding),
        };
        Some(finding.help(help))
    }

    fn http_url(&self, text: &str) -> Option<Diagnostic> {
        match HttpAddress::read(text) {
            Ok(_) => None,
            Err(HttpFault::Password) => Some(
                self.finding(format!("{} holds a password", self.label))
                    .expected("a URL with its password never stands in a file")
                    .help("put it into an environment variable and name that in `url_env`"),
            ),
            Err(HttpFault::Malformed(why)) => Some(
                self.finding(format!("{} {why}", self.label))
                    .expected("expected a URL such as https://gate.example.com/pontoon"),
            ),
        }
    }

    fn sql(&self, fault: Option<Fault>) -> Option<Diagnostic> {
        let Some(fault) = fault else {
            return self.cut_by_comment();
        };
        let start = self.node.place_of(self.source, fault.at.start);
        let length = fault.at.len();
        let span = if self.node.text().is_none_or(str::is_empty) {
            self.node.span.clone()
        } else {
            start..(start + length).min(self.node.span.end.max(start))
        };
        let finding = self
            .source
            .finding(&span, format!("{}: {}", self.label, fault.message))
            .expected(fault.expected);
        Some(finding.helped(fault.help))
    }

    /// `data #>> '{a}'` without quotes: YAML takes the rest for a comment.
    fn cut_by_comment(&self) -> Option<Diagnostic> {
        if !matches!(self.node.kind, Kind::Scalar(_, Style::Plain)) {
            return None;
        }
        let rest = self.source.text.get(self.node.span.end..)?;
        let line = rest.split('\n').next().unwrap_or(rest).trim_start();
        let operator = ["#>", "#-"].iter().find(|sign| line.starts_with(**sign))?;
        let at = self.source.text.len() - rest.len() + rest.find(operator)?;
        Some(
            self.source
                .finding(
                    &(at..at + line.trim_end().len()),
                    format!("{}: YAML takes this for a comment", self.label),
                )
                .expected("it is not part of the expression")
                .help("put quotes around the whole expression"),
        )
    }

    fn acknowledgement(&self, text: &str) -> Option<Diagnostic> {
        let (kind, name) = text.split_once(':').unwrap_or((text, ""));
        let known = ACKNOWLEDGEABLE.iter().find(|(known, _)| *known == kind);
        let forms: Vec<&str> = ACKNOWLEDGEABLE.iter().map(|(_, form)| *form).collect();
        match known {
            Some((_, form)) if form.contains(':') != name.trim().is_empty() => None,
            Some((_, form)) => Some(
                self.finding(format!("acknowledgement `{text}` is incomplete"))
                    .expected(format!("expected {form}")),
            ),
            None => {
                let finding = self
                    .finding(format!("unknown acknowledgement `{text}`"))
                    .expected(format!("expected one of {}", forms.join(", ")));
                let kinds = ACKNOWLEDGEABLE.iter().map(|(kind, _)| *kind);
                Some(match similar(kind, kinds) {
                    Some(kind) => finding.help(format!("did you mean `{kind}`?")),
                    None => finding,
                })
            }
        }
    }

    fn variable(&self, text: &str) -> Option<Diagnostic> {
        let fits = !text.is_empty()
            && !text.starts_with(|c: char| c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        (!fits).then(|| {
            self.finding(format!(
                "{} must be the name of an environment variable",
                self.label
            ))
            .expected("expected a name such as STAGING_DATABASE_URL")
            .help("a URL with its password never stands in a file: put it into that variable")
        })
    }
}

/// Reads a duration as plans write it. The error completes a sentence that
/// begins with the field's name.
pub fn time_span(text: &str) -> Result<Duration, String> {
    if text.trim_start().starts_with('-') {
        return Err("is negative".to_owned());
    }
    let time = humantime::parse_duration(text).map_err(|error| match error {
        humantime::DurationError::UnknownUnit { unit, .. } if unit.is_empty() => {
            "has no unit".to_owned()
        }
        humantime::DurationError::UnknownUnit { unit, .. } => {
            format!("has the unknown unit `{unit}`")
        }
        _ => "is not a time".to_owned(),
    })?;
    if time.is_zero() {
        Err("is zero".to_owned())
    } else if time < Duration::from_millis(1) {
        Err("is below 1ms".to_owned())
    } else if time > MAX_TIME {
        Err("is longer than a year".to_owned())
    } else {
        Ok(time)
    }
}
