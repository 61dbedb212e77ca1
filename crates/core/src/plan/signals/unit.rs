//! What readings and limits are counted in: read from plans, shown to people.

/// What a signal's readings are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// A time; readings are seconds.
    Time,
    /// Bytes.
    Bytes,
    /// Bytes per second.
    Rate,
    /// Hundredths of a whole.
    Percent,
}

/// PostgreSQL's units: each is 1024 of the one before.
const SIZES: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];

impl Unit {
    /// Reads a limit as plans write it: `3`, `10s`, `64MB`, `20MB/s`, `80%`.
    /// The value is in the unit of readings.
    ///
    /// # Errors
    /// What is wrong with it, to complete a sentence that begins with the
    /// field's name.
    pub fn read(self, text: &str) -> Result<f64, String> {
        let text = text.trim();
        match self {
            Unit::Count => match text.parse::<u32>() {
                Ok(0) => Err("is zero".to_owned()),
                Ok(count) => Ok(f64::from(count)),
                Err(_) => Err("is not a whole number from 1 to 4294967295".to_owned()),
            },
            Unit::Time => super::super::formats::time_span(text).map(|time| time.as_secs_f64()),
            Unit::Bytes => size(text),
            Unit::Rate => match text.strip_suffix("/s") {
                Some(amount) => size(amount),
                None => Err("has no `/s` at its end".to_owned()),
            },
            Unit::Percent => {
                let Some(share) = text.strip_suffix('%') else {
                    return Err("has no `%` at its end".to_owned());
                };
                match number(share.trim())? {
                    share if share > 100.0 => Err("is more than 100%".to_owned()),
                    share => Ok(share),
                }
            }
        }
    }

    /// A limit that would do, for messages.
    pub fn example(self) -> &'static str {
        match self {
            Unit::Count => "3",
            Unit::Time => "500ms, 10s, 30m",
            Unit::Bytes => "512kB, 64MB, 2GB",
            Unit::Rate => "500kB/s, 20MB/s",
            Unit::Percent => "80%",
        }
    }

    /// What it is called in the documentation.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Count => "a number",
            Unit::Time => "a time",
            Unit::Bytes => "a size, in PostgreSQL's units of 1024",
            Unit::Rate => "a size per second",
            Unit::Percent => "a percentage",
        }
    }

    /// The `format` of its limits in the JSON Schema; `None`: a plain integer.
    pub(crate) fn format(self) -> Option<&'static str> {
        match self {
            Unit::Count => None,
            Unit::Time => Some("time-span"),
            Unit::Bytes => Some("byte-size"),
            Unit::Rate => Some("byte-rate"),
            Unit::Percent => Some("percentage"),
        }
    }

    /// The unit whose limits have this `format`.
    pub(crate) fn of_format(format: &str) -> Option<Self> {
        [Unit::Time, Unit::Bytes, Unit::Rate, Unit::Percent]
            .into_iter()
            .find(|unit| unit.format() == Some(format))
    }

    /// A reading as people read it: `12.4s`, `128ms`, `1.5GB`.
    pub fn show(self, value: f64) -> String {
        match self {
            Unit::Count if value.fract().abs() < f64::EPSILON => format!("{value:.0}"),
            Unit::Count => format!("{value:.2}"),
            Unit::Time if value < 1.0 => format!("{:.0}ms", value * 1000.0),
            Unit::Time if value < 600.0 => format!("{value:.1}s"),
            Unit::Time => format!("{:.1}min", value / 60.0),
            Unit::Bytes => show_size(value),
            Unit::Rate => format!("{}/s", show_size(value)),
            Unit::Percent => format!("{value:.0}%"),
        }
    }
}

fn show_size(bytes: f64) -> String {
    let mut value = bytes;
    let mut unit = 0;
    while value.abs() >= 1024.0 && unit + 1 < SIZES.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{value:.0}{}", SIZES[unit])
    } else {
        format!("{value:.1}{}", SIZES[unit])
    }
}

fn size(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let split = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-'))
        .unwrap_or(text.len());
    let (amount, unit) = text.split_at(split);
    let unit = unit.trim();
    if unit.is_empty() && !amount.is_empty() {
        return Err("has no unit".to_owned());
    }
    let mut factor = 1.0;
    for known in SIZES {
        if known.eq_ignore_ascii_case(unit) {
            return Ok(number(amount)? * factor);
        }
        factor *= 1024.0;
    }
    if amount.is_empty() {
        return Err("is not a size".to_owned());
    }
    Err(format!("has the unknown unit `{unit}`"))
}

/// A plain decimal number above zero.
fn number(text: &str) -> Result<f64, String> {
    if text.starts_with('-') {
        return Err("is negative".to_owned());
    }
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match text.parse::<f64>() {
        Ok(value) if plain && value > 0.0 && value.is_finite() => Ok(value),
        Ok(_) if plain => Err("is zero".to_owned()),
        _ => Err("is not a number".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_positive_and_in_their_unit() {
        let good = [
            (Unit::Count, "3", 3.0),
            (Unit::Time, "2s", 2.0),
            (Unit::Time, "250ms", 0.25),
            (Unit::Bytes, "64MB", 67_108_864.0),
            (Unit::Bytes, "1.5 kB", 1536.0),
            (Unit::Bytes, "12B", 12.0),
            (Unit::Rate, "20mb/s", 20_971_520.0),
            (Unit::Percent, "80%", 80.0),
        ];
        for (unit, text, value) in good {
            let read = unit
                .read(text)
                .unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!((read - value).abs() < 1e-9, "{text}: {read}");
        }
        let bad = [
            (Unit::Count, "0"),
            (Unit::Count, "3s"),
            (Unit::Count, "-1"),
            (Unit::Time, "0s"),
            (Unit::Time, "2"),
            (Unit::Bytes, "5"),
            (Unit::Bytes, "5 parsecs"),
            (Unit::Bytes, "0MB"),
            (Unit::Bytes, "-1MB"),
            (Unit::Bytes, "MB"),
            (Unit::Bytes, ""),
            (Unit::Bytes, "1.2.3MB"),
            (Unit::Rate, "20MB"),
            (Unit::Percent, "80"),
            (Unit::Percent, "101%"),
            (Unit::Percent, "NaN%"),
        ];
        for (unit, text) in bad {
            assert!(unit.read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn readings_read_well() {
        for (unit, value, text) in [
            (Unit::Count, 3.0, "3"),
            (Unit::Count, 0.25, "0.25"),
            (Unit::Time, 12.4, "12.4s"),
            (Unit::Time, 0.128, "128ms"),
            (Unit::Time, 5400.0, "90.0min"),
            (Unit::Bytes, 1536.0, "1.5kB"),
            (Unit::Bytes, 12.0, "12B"),
            (Unit::Rate, 20_971_520.0, "20.0MB/s"),
            (Unit::Percent, 96.4, "96%"),
        ] {
            assert_eq!(unit.show(value), text);
        }
    }
}
