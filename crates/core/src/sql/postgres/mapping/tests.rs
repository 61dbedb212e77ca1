use super::*;
use crate::step::OnConflict;

fn expr(template: &str, columns: &[&str]) -> Expr {
    Expr {
        template: template.into(),
        columns: columns.iter().map(|c| (*c).to_owned()).collect(),
        volatility: Volatility::Immutable,
    }
}

fn col(name: &str, type_name: &str) -> MappedColumn {
    MappedColumn {
        name: name.into(),
        type_name: type_name.into(),
        default: None,
    }
}

fn pair() -> Mapping {
    Mapping {
        operation: 0,
        old: vec![col("amount", "integer")],
        new: vec![col("amount exact", "numeric(10,2)")],
        rule: Rule::Pair {
            up: vec![expr("(pontoon_row.amount)::numeric", &["amount"])],
            down: vec![expr(
                "(pontoon_row.\"amount exact\")::integer",
                &["amount exact"],
            )],
            on_conflict: OnConflict::Error,
        },
        required: true,
        back: None,
    }
}

fn fill() -> Mapping {
    Mapping {
        operation: 1,
        old: vec![col("email", "text")],
        new: vec![col("email_normalized", "character varying(40)")],
        rule: Rule::Fill {
            up: vec![expr("lower(pontoon_row.email)", &["email"])],
        },
        required: false,
        back: None,
    }
}

fn omitted() -> Mapping {
    Mapping {
        operation: 2,
        old: vec![col("legacy", "text")],
        new: vec![],
        rule: Rule::Omitted {
            down: vec![expr("'none'::text", &[])],
        },
        required: false,
        back: None,
    }
}

#[test]
fn a_pair_is_in_step_either_way() {
    assert_eq!(
        in_step(&pair(), "t"),
        "(ROW(t.\"amount exact\")::record OPERATOR(pg_catalog.*=) \
         ROW(((t.amount)::numeric)::numeric(10,2))::record OR \
         t.\"amount\" IS NOT DISTINCT FROM ((t.\"amount exact\")::integer)::integer)"
    );
    assert_eq!(
        unfilled(&pair(), "NEW"),
        "(NEW.\"amount exact\" IS NOT DISTINCT FROM NULL AND \
         ((NEW.amount)::numeric) IS DISTINCT FROM NULL)"
    );
    assert!(mismatch(&pair(), "t").ends_with(" OR t.\"amount exact\" IS NOT DISTINCT FROM NULL)"));
}

#[test]
fn nothing_is_asked_of_an_omitted_column() {
    assert_eq!(needs_fill(&omitted(), "t"), "false");
    assert_eq!(mismatch(&omitted(), "t"), "false");
    assert_eq!(any_needs_fill(&[omitted()], "t"), "false");
    assert_eq!(fill_set(&[omitted()], "t"), []);
}

#[test]
fn one_mapping_is_set_as_it_is() {
    assert_eq!(
        fill_set(&[fill(), omitted()], "t"),
        [("email_normalized".to_owned(), "lower(t.email)".to_owned())]
    );
}

#[test]
fn of_several_mappings_each_keeps_its_own_value() {
    let set = fill_set(&[pair(), fill()], "t");
    assert_eq!(set.len(), 2);
    assert_eq!(set[1].0, "email_normalized");
    assert_eq!(
        set[1].1,
        "CASE WHEN t.\"email_normalized\" IS NOT DISTINCT FROM NULL \
         THEN (lower(t.email))::character varying ELSE t.\"email_normalized\" END"
    );
}

#[test]
fn settings_are_pinned_where_an_expression_reads_them() {
    assert_eq!(pins(&[pair()]).len(), 1);
    let mut zoned = fill();
    zoned.rule = Rule::Fill {
        up: vec![Expr {
            volatility: Volatility::Stable,
            ..expr("(pontoon_row.email)::timestamptz", &["email"])
        }],
    };
    assert!(pins(&[pair(), zoned]).contains(&("TimeZone", "UTC")));
    let mut formatted = fill();
    formatted.old = vec![col("ratio", "double precision")];
    assert!(reads_settings(&formatted));
    let mut escaped = fill();
    escaped.rule = Rule::Fill {
        up: vec![expr("pontoon_row.email || '\\'::text", &["email"])],
    };
    assert!(pins(&[escaped]).contains(&("standard_conforming_strings", "on")));
    assert_eq!(
        pin_text(("search_path", "pg_catalog, pg_temp")),
        "search_path = pg_catalog, pg_temp"
    );
    assert_eq!(pin_text(("TimeZone", "UTC")), "timezone = 'UTC'");
}

#[test]
fn a_default_says_that_a_column_was_not_given() {
    let mut status = col("status", "text");
    status.default = Some(expr("'new'::text", &[]));
    assert_eq!(
        not_given(&[status], "NEW"),
        "(NEW.\"status\" IS NOT DISTINCT FROM NULL OR NEW.\"status\" COLLATE pg_catalog.\"C\" \
         IS NOT DISTINCT FROM ('new'::text)::text COLLATE pg_catalog.\"C\")"
    );
}
