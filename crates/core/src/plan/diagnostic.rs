//! What is wrong with a file, where, and what to do about it.
//!
//! A [`Diagnostic`] is data: [`Diagnostic::render`] makes plain text of it, the
//! command line adds colours, and JSON output serializes it as it is. Lines
//! and columns are 1-based; columns and lengths count characters, not bytes.

use std::cmp::Reverse;
use std::fmt::Write as _;
use std::ops::Range;

use serde::Serialize;

/// One finding in a plan or a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The file, as it was named to us.
    pub file: String,
    /// 1-based line.
    pub line: u32,
    /// 1-based column, in characters.
    pub column: u32,
    /// How many characters it concerns; at least 1.
    pub length: u32,
    /// What is wrong, without a period: ``unknown key `tabel` in add_column``.
    pub message: String,
    /// What was expected at that place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// What else one has to know, such as the other one of two places.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The line, without its line break; of a long one the part around the
    /// place, with `…` where it was cut. Passwords in URLs are masked.
    pub source: String,
    /// Where the mark stands in `source`, in characters.
    #[serde(skip)]
    mark: usize,
}

/// Longest part of a source line that is kept, in characters.
const SHOWN: usize = 160;

impl Diagnostic {
    /// Says what was expected at that place.
    pub fn expected(mut self, text: impl Into<String>) -> Self {
        self.expected = Some(printable(&text.into()));
        self
    }

    /// Says what to do.
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(printable(&text.into()));
        self
    }

    /// Says what to do, when there is something.
    pub(crate) fn helped(self, text: Option<String>) -> Self {
        match text {
            Some(text) => self.help(text),
            None => self,
        }
    }

    /// Adds what else one has to know.
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.note = Some(printable(&text.into()));
        self
    }

    /// The finding as plain text, with the source line and a mark under the
    /// place. It ends with a line break.
    pub fn render(&self) -> String {
        let mut out = String::new();
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len() + 2);
        let room = self.source.chars().count().saturating_sub(self.mark).max(1);
        let mark = "^".repeat((self.length as usize).clamp(1, room));
        let indent = " ".repeat(self.mark);
        let label = self.expected.as_deref().unwrap_or_default();
        write_line(&mut out, format_args!("error: {}", self.message));
        write_line(
            &mut out,
            format_args!(
                "{}--> {}:{}:{}",
                &gutter[1..],
                self.file,
                self.line,
                self.column
            ),
        );
        write_line(&mut out, format_args!("{gutter}|"));
        write_line(&mut out, format_args!(" {number} | {}", self.source));
        write_line(&mut out, format_args!("{gutter}| {indent}{mark} {label}"));
        if let Some(help) = &self.help {
            write_line(&mut out, format_args!("{gutter}= help: {help}"));
        }
        if let Some(note) = &self.note {
            write_line(&mut out, format_args!("{gutter}= note: {note}"));
        }
        out
    }
}

/// The part of a line around a 0-based column, and the column in that part.
fn window(line: &str, column: usize) -> (String, usize) {
    let length = line.chars().count();
    if length <= SHOWN {
        return (line.to_owned(), column.min(length));
    }
    let start = column.saturating_sub(SHOWN / 3).min(length - SHOWN);
    let cut: String = line.chars().skip(start).take(SHOWN).collect();
    let before = if start > 0 { "…" } else { "" };
    let after = if start + SHOWN < length { "…" } else { "" };
    let mark = column - start + before.chars().count();
    (format!("{before}{cut}{after}"), mark)
}

/// Appends one line without trailing blanks.
fn write_line(out: &mut String, line: std::fmt::Arguments<'_>) {
    let start = out.len();
    write!(out, "{line}").expect("writing to a String cannot fail");
    let kept = start + out[start..].trim_end().len();
    out.truncate(kept);
    out.push('\n');
}

/// Renders several findings, one empty line between them.
pub fn render_all(findings: &[Diagnostic]) -> String {
    findings
        .iter()
        .map(Diagnostic::render)
        .collect::<Vec<_>>()
        .join("\n")
}

/// A place in a file, in bytes.
pub(crate) type Span = Range<usize>;

/// A file's name and text, able to point at places in itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SourceText {
    /// As it was named to us.
    pub(crate) file: String,
    /// The whole text.
    pub(crate) text: String,
    /// Byte offset of each line's first character.
    lines: Vec<usize>,
}

impl SourceText {
    /// Indexes the lines of `text`.
    pub(crate) fn new(file: &str, text: &str) -> Self {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            file: file.to_owned(),
            text: text.to_owned(),
            lines: std::iter::once(0).chain(breaks).collect(),
        }
    }

    /// The largest character boundary at or below `at`.
    fn boundary(&self, at: usize) -> usize {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }

    /// The 1-based line and column of a byte offset.
    pub(crate) fn position(&self, at: usize) -> (u32, u32) {
        let at = self.boundary(at);
        let line = self.lines.partition_point(|start| *start <= at).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        let column = self.text[start..at].chars().count() + 1;
        (saturate(line), saturate(column))
    }

    /// The line that holds a byte offset, or of a long line a stretch around
    /// it, and how many characters of the line are left out before that.
    fn line_around(&self, at: usize) -> (&str, usize) {
        const NEAR: usize = 2_000;
        let (line, _) = self.position(at);
        let start = self.lines.get(line as usize - 1).copied().unwrap_or(0);
        let end = self.lines.get(line as usize).copied();
        let from = self.boundary(at.saturating_sub(NEAR)).max(start);
        let to = self.boundary(end.unwrap_or(self.text.len()).min(at + NEAR));
        let stretch = self.text[from..to].trim_end_matches(['\n', '\r']);
        (stretch, self.text[start..from].chars().count())
    }

    /// `file:line:column` of a place, for notes about a second place.
    pub(crate) fn place(&self, span: &Span) -> String {
        let (line, column) = self.position(span.start);
        format!("{}:{line}:{column}", self.file)
    }

    /// A finding at `span`; a span that leaves its first line is cut there.
    pub(crate) fn finding(&self, span: &Span, message: impl Into<String>) -> Diagnostic {
        let start = self.boundary(span.start);
        let end = self.boundary(span.end.max(start));
        let (line, column) = self.position(start);
        let covered = &self.text[start..end];
        let covered = covered.split(['\n', '\r']).next().unwrap_or(covered);
        let (stretch, skipped) = self.line_around(start);
        let before = (column as usize).saturating_sub(1 + skipped);
        let (source, mark) = window(&printable(&mask(stretch)), before);
        Diagnostic {
            file: self.file.clone(),
            line,
            column,
            length: saturate(covered.trim_end().chars().count().max(1)),
            message: printable(&mask(&message.into())),
            expected: None,
            help: None,
            note: None,
            source,
            mark,
        }
    }
}

/// Line numbers beyond `u32` do not occur in files we accept.
fn saturate(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// One blank for each tab and control character, so that marks stay aligned
/// and a file cannot send control sequences to a terminal.
fn printable(line: &str) -> String {
    line.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Replaces the user part of every URL in a line by stars of equal length:
/// somebody may have written a password where a variable's name belongs.
fn mask(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after
            .find(|c: char| c.is_whitespace() || c == '"' || c == '\'')
            .unwrap_or(after.len());
        let secret = after[..end].rfind('@').unwrap_or(0);
        out.extend(after[..secret].chars().map(|_| '*'));
        rest = &after[secret..];
    }
    out.push_str(rest);
    out
}

/// The candidate that `word` was probably meant to be.
///
/// Damerau-Levenshtein finds slips of the finger, Jaro-Winkler names that
/// begin alike (`max_lock_time`, `max_lock_duration`).
pub(crate) fn similar<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let near = |candidate: &&str| {
        let slips = strsim::damerau_levenshtein(&lower, candidate);
        let allowed = candidate.chars().count().div_ceil(4).min(3);
        slips <= allowed || strsim::jaro_winkler(&lower, candidate) >= 0.87
    };
    candidates.into_iter().filter(near).min_by_key(|candidate| {
        let alike = strsim::jaro_winkler(&lower, candidate);
        // Scores lie between 0 and 1: thousandths order them well enough.
        #[expect(clippy::cast_possible_truncation, reason = "a score of at most 1000")]
        let thousandths = (alike * 1000.0) as i64;
        Reverse(thousandths)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_shows_the_line_and_marks_the_place() {
        let source = SourceText::new(
            "plans/a.yaml",
            "plan: a\nlimits:   {max_lock_time: 500ms}\n",
        );
        let finding = source
            .finding(&(19..32), "unknown key `max_lock_time` in limits")
            .expected("expected one of max_lock_duration, lock_patience")
            .help("did you mean `max_lock_duration`?");
        assert_eq!(
            finding.render(),
            "\
error: unknown key `max_lock_time` in limits
  --> plans/a.yaml:2:12
   |
 2 | limits:   {max_lock_time: 500ms}
   |            ^^^^^^^^^^^^^ expected one of max_lock_duration, lock_patience
   = help: did you mean `max_lock_duration`?
"
        );
    }

    #[test]
    fn columns_count_characters_and_spans_are_cut_at_the_line() {
        let source = SourceText::new("ü.yaml", "größe: \"äöü\nb\"\r\nz: 1");
        let finding = source.finding(&(9..16), "x");
        assert_eq!((finding.line, finding.column, finding.length), (1, 8, 4));
        assert_eq!(source.position(usize::MAX), (3, 5));
    }

    #[test]
    fn long_lines_are_cut_around_the_mark() {
        let text = format!("{}HERE{}", "a".repeat(500), "b".repeat(500));
        let source = SourceText::new("x", &text);
        let text = source.finding(&(500..504), "x").render();
        let lines: Vec<&str> = text.lines().collect();
        let mark = lines[4].find('^').expect("a mark");
        let shown: Vec<char> = lines[3].chars().collect();
        assert_eq!(shown[mark..mark + 4], ['H', 'E', 'R', 'E']);
        assert!(shown.len() < SHOWN + 10);
    }

    #[test]
    fn passwords_in_urls_are_masked() {
        assert_eq!(
            mask("url: postgres://joe:pw@host/db # x"),
            "url: postgres://******@host/db # x"
        );
        assert_eq!(mask("a://b, c://d:e@f"), "a://b, c://***@f");
    }

    #[test]
    fn suggestions_are_near_or_absent() {
        let keys = ["max_lock_duration", "lock_patience", "max_batch_rows"];
        assert_eq!(similar("max_lock_time", keys), Some("max_lock_duration"));
        assert_eq!(similar("LOCK_PATIENCE", keys), Some("lock_patience"));
        assert_eq!(similar("zebra", keys), None);
    }
}
