//! A preview as people read it.

use std::fmt::Write as _;

use super::{Preview, StepPreview, UndoPreview};

/// SQL longer than this is cut in text; JSON holds all of it.
const SQL_LINES: usize = 40;

pub(super) fn render(preview: &Preview) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _infallible = write(&mut out, preview);
    out
}

fn write(out: &mut String, preview: &Preview) -> std::fmt::Result {
    writeln!(
        out,
        "Plan {} (version {}) on database {}, PostgreSQL {}.",
        preview.plan,
        preview.version,
        preview.database,
        preview.server_version / 10_000
    )?;
    for table in &preview.tables {
        let rows = table.estimated_rows.map_or_else(
            || "never analysed".to_owned(),
            |rows| format!("about {} rows", group(rows)),
        );
        writeln!(
            out,
            "  {}: {rows}, {} pages, {}",
            table.table,
            group(table.pages),
            bytes(table.bytes)
        )?;
    }
    for phase in &preview.phases {
        writeln!(out)?;
        if let Some(gate) = &phase.gate {
            write!(
                out,
                "── gate: waits for approval before {}",
                phase.phase.name()
            )?;
            if let Some(idle) = &gate.old_writes_idle {
                write!(out, ", and for {idle} without an old-version write")?;
            }
            writeln!(out, " ──")?;
            if let Some(message) = &gate.message {
                writeln!(out, "   {message}")?;
            }
            writeln!(out)?;
        }
        writeln!(out, "{}", phase.phase.name().to_uppercase())?;
        for step in &phase.steps {
            write_step(out, step)?;
        }
        writeln!(out, "  After this phase:")?;
        for text in &phase.versions.old {
            writeln!(out, "    old versions: {text}")?;
        }
        for text in &phase.versions.new {
            writeln!(out, "    new versions: {text}")?;
        }
    }
    write_throttle(out, preview)?;
    if !preview.notes.is_empty() {
        writeln!(out, "\nNotes")?;
        for note in &preview.notes {
            match note.operation {
                0 => writeln!(out, "  {}", note.text)?,
                no => writeln!(out, "  operation {no}: {}", note.text)?,
            }
        }
    }
    writeln!(out, "\nNothing was changed.")
}

fn write_throttle(out: &mut String, preview: &Preview) -> std::fmt::Result {
    if preview.throttle.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nThrottle: no batch is begun while")?;
    for signal in &preview.throttle {
        let name = &signal.signal;
        let Some(limits) = &signal.limits else {
            writeln!(out, "  {name} is off")?;
            continue;
        };
        write!(out, "  {name} >= {limits}")?;
        if let Some(of) = &signal.of {
            write!(
                out,
                " of {}",
                of.split_whitespace().collect::<Vec<_>>().join(" ")
            )?;
        }
        let mut remarks = Vec::new();
        if signal.by_default {
            remarks.push("by default");
        }
        if signal.unknown == "ignore" {
            remarks.push("ignored when it cannot be read");
        }
        if !remarks.is_empty() {
            write!(out, " ({})", remarks.join("; "))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn write_step(out: &mut String, step: &StepPreview) -> std::fmt::Result {
    write!(out, "  {}. {}  [{}", step.no, step.name, step.kind)?;
    writeln!(
        out,
        "{}]",
        if step.transactional {
            ", one transaction"
        } else {
            ""
        }
    )?;
    for lock in &step.locks {
        writeln!(out, "     lock: {} on {}", mode(lock.mode), lock.table)?;
    }
    if let Some(rows) = step.estimated_rows {
        writeln!(out, "     rows: about {}", group(rows))?;
    }
    for trigger in &step.triggers {
        writeln!(out, "     fires for each row: trigger {trigger}")?;
    }
    for publication in &step.publications {
        writeln!(out, "     streams each row: publication {publication}")?;
    }
    for (index, text) in step.sql.iter().enumerate() {
        let label = if index == 0 { "sql:" } else { "    " };
        let mut lines = text.trim_end().lines();
        writeln!(out, "     {label}  {}", lines.next().unwrap_or_default())?;
        for line in lines.by_ref().take(SQL_LINES) {
            writeln!(out, "           {line}")?;
        }
        if lines.next().is_some() {
            writeln!(out, "           … (all of it with --output json)")?;
        }
    }
    match &step.undo {
        UndoPreview::Steps { sql } => {
            for (index, text) in sql.iter().enumerate() {
                let label = if index == 0 { "undo:" } else { "     " };
                let mut lines = text.trim_end().lines();
                writeln!(out, "     {label} {}", lines.next().unwrap_or_default())?;
                for line in lines {
                    writeln!(out, "           {line}")?;
                }
            }
        }
        UndoPreview::Nothing => writeln!(out, "     undo: nothing to take back")?,
        UndoPreview::Impossible { reason } => writeln!(out, "     undo: none, {reason}")?,
    }
    Ok(())
}

fn mode(mode: crate::step::LockMode) -> &'static str {
    use crate::step::LockMode;
    match mode {
        LockMode::AccessShare => "ACCESS SHARE",
        LockMode::RowShare => "ROW SHARE",
        LockMode::RowExclusive => "ROW EXCLUSIVE",
        LockMode::ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE",
        LockMode::Share => "SHARE",
        LockMode::ShareRowExclusive => "SHARE ROW EXCLUSIVE",
        LockMode::Exclusive => "EXCLUSIVE",
        LockMode::AccessExclusive => "ACCESS EXCLUSIVE",
    }
}

/// `1234567` as `1,234,567`.
fn group(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut whole = bytes;
    let mut rest = 0;
    while whole >= 1024 && unit + 1 < UNITS.len() {
        rest = (whole % 1024) * 10 / 1024;
        whole /= 1024;
        unit += 1;
    }
    if unit == 0 {
        format!("{whole} {}", UNITS[unit])
    } else {
        format!("{whole}.{rest} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, group};

    #[test]
    fn numbers_read_well() {
        assert_eq!(group(1_234_567), "1,234,567");
        assert_eq!(group(999), "999");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(12), "12 bytes");
    }
}
