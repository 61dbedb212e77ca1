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
    }
}

#[test]
fn a_pair_is_in_step_either_way() {
    assert_eq!(
        in_step(&pair(), "t"),
        "(ROW(t.\"amount exact\")::record OPERATOR(pg_catalog.*=) \
         ROW(((t.amount)::numeric)::numeric(10,2))::record OR \
         ROW(t.\"amount\")::record OPERATOR(pg_catalog.*=) \
         ROW(((t.\"amount exact\")::integer)::integer)::record)"
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
        "CASE WHEN (t.\"email_normalized\" IS NOT DISTINCT FROM NULL AND \
         (lower(t.email)) IS DISTINCT FROM NULL) \
         THEN (lower(t.email))::character varying ELSE t.\"email_normalized\" END"
    );
}

#[test]
fn settings_are_pinned_where_an_expression_reads_them() {
    assert_eq!(pins(&[pair()]).len(), 2);
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
        "(NEW.\"status\" IS NOT DISTINCT FROM NULL OR ROW(NEW.\"status\")::record \
         OPERATOR(pg_catalog.*=) ROW(('new'::text)::text)::record)"
    );
}

#[test]
fn modifiers_are_taken_off_every_kind_of_type() {
    for (full, base) in [
        ("numeric(10,2)", "numeric"),
        ("character varying(5)[]", "character varying[]"),
        ("character(5)", "bpchar"),
        ("bit(3)", "\"bit\""),
        ("bit varying(3)", "bit varying"),
        (
            "timestamp(3) without time zone",
            "timestamp without time zone",
        ),
        ("interval day to second(3)", "interval"),
        ("public.\"odd(type)\"", "public.\"odd(type)\""),
        ("public.geometry(Point,4326)", "public.geometry"),
        ("text", "text"),
    ] {
        assert_eq!(without_modifiers(full), base, "{full}");
    }
}
