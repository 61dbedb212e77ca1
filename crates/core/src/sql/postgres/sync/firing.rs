//! What a trigger fires on.
//!
//! A trigger's column list is looked at once for each statement, and costs
//! nothing. A WHEN condition is read, planned and prepared anew for each
//! statement that the trigger concerns, which costs 4 µs for each kilobyte it
//! takes in the catalog, and then evaluated for each row. Calling the function
//! costs 1 µs for each row. An application writes single rows, a batch
//! thousands: so there is a trigger for each kind of write, and a condition
//! only where batches would pass for somebody else.
//!
//! A condition may let too much in, for the function looks again, but never
//! too little.

use super::super::mapping::{
    all_null, any_null, any_of, changed, differs_from_up, in_step, reads_settings, unfilled, ups,
};
use super::Place;
use crate::sql::quote::quote_ident;
use crate::step::{Conditions, Mapping, Rule, Sync};

/// A kind of write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// Any INSERT.
    Insert,
    /// An UPDATE that names an old column.
    Old,
    /// An UPDATE that names a new column and leaves the shapes out of step.
    /// Batches name new columns, and are in step.
    New,
    /// Any UPDATE that leaves new columns empty: rows that nobody has filled
    /// yet, whatever it names. Its trigger comes after those for what it names,
    /// and finds most rows filled where there is one.
    Empty,
    /// Any UPDATE.
    Update,
}

impl Write {
    /// Those that a dual write has triggers for, in a place.
    pub(super) fn all(place: Place) -> &'static [Self] {
        match place {
            Place::First => &[Self::Insert, Self::Old, Self::New, Self::Empty],
            // What a trigger of the application changes, no statement names.
            Place::Last => &[Self::Insert, Self::Update],
        }
    }

    /// The end of a trigger's name, by which the server orders them.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Insert => "i",
            Self::Old => "o",
            Self::New => "n",
            // Behind the others, which leave it nothing to do.
            Self::Empty => "z",
            Self::Update => "u",
        }
    }
}

/// A trigger's event and condition.
pub(super) struct Firing {
    /// What stands behind BEFORE.
    pub(super) event: String,
    /// What stands in WHEN, if anything.
    pub(super) when: Option<String>,
}

/// `None`: no mapping of the table needs such a trigger.
pub(super) fn firing(sync: &Sync, write: Write) -> Option<Firing> {
    let following = || {
        sync.mappings
            .iter()
            .filter(|mapping| !matches!(mapping.rule, Rule::Omitted { .. }))
    };
    following().next().or_else(|| {
        // A dropped column is filled for writers that leave it out.
        sync.mappings.first().filter(|_| write == Write::Insert)
    })?;
    let always = |event: &str| {
        Some(Firing {
            event: event.to_owned(),
            when: None,
        })
    };
    match write {
        Write::Insert => always("INSERT"),
        Write::Update => always("UPDATE"),
        Write::Old => update_of(following().flat_map(|mapping| {
            let read = ups(mapping).iter().flat_map(|expr| &expr.columns);
            mapping.old.iter().map(|column| &column.name).chain(read)
        })),
        Write::New => {
            let deciding = || following().filter(|m| !matches!(m.rule, Rule::Fill { .. }));
            let when = any_of(
                deciding()
                    .map(|mapping| out_of_step(sync, mapping))
                    .collect(),
            );
            update_of(deciding().flat_map(|m| m.new.iter().map(|column| &column.name))).map(
                |firing| Firing {
                    when: Some(when),
                    ..firing
                },
            )
        }
        Write::Empty => Some(Firing {
            event: "UPDATE".to_owned(),
            when: Some(any_of(following().map(empty).collect())),
        }),
    }
}

/// An UPDATE that names one of these columns.
fn update_of<'a>(names: impl Iterator<Item = &'a String>) -> Option<Firing> {
    let mut columns: Vec<String> = Vec::new();
    for name in names {
        let column = quote_ident(name);
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    (!columns.is_empty()).then(|| Firing {
        event: format!("UPDATE OF {}", columns.join(", ")),
        when: None,
    })
}

/// The shapes do not agree. Where that may not be computed in WHEN: the new
/// columns changed.
fn out_of_step(sync: &Sync, mapping: &Mapping) -> String {
    let in_when = sync.conditions == Conditions::InWhen && !reads_settings(mapping);
    match &mapping.rule {
        Rule::Pair { .. } if in_when => format!("NOT {}", in_step(mapping, "NEW")),
        Rule::Derived { .. } | Rule::Copied { .. } if in_when => differs_from_up(mapping, "NEW"),
        Rule::Pair { .. } | Rule::Derived { .. } | Rule::Copied { .. } => {
            changed(&mapping.new, "NEW", "OLD")
        }
        // No condition of a trigger may look something up.
        Rule::Referred { .. } => changed(&mapping.new, "NEW", "OLD"),
        Rule::Fill { .. } | Rule::Omitted { .. } => "false".to_owned(),
    }
}

/// Nobody may have filled the new columns yet: what the row's own columns tell,
/// without any expression.
pub(super) fn empty(mapping: &Mapping) -> String {
    match &mapping.rule {
        Rule::Pair { .. } | Rule::Fill { .. } => all_null(&mapping.new, "NEW"),
        Rule::Derived { .. } | Rule::Copied { .. } => any_null(&mapping.new, "NEW"),
        Rule::Referred { .. } => unfilled(mapping, "NEW"),
        Rule::Omitted { .. } => "false".to_owned(),
    }
}
