use super::*;
use crate::expr::{Expr, Volatility};
use crate::step::{Back, Conditions, MappedColumn, Mapping, OnConflict, Rule};

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

fn mapping(old: Vec<MappedColumn>, new: Vec<MappedColumn>, rule: Rule) -> Mapping {
    Mapping {
        operation: 0,
        old,
        new,
        rule,
        required: false,
        back: None,
    }
}

fn orders() -> Sync {
    Sync {
        conditions: Conditions::InWhen,
        application_triggers: true,
        table: TableName::new("public", "orders"),
        children: vec![],
        mappings: vec![
            mapping(
                vec![col("amount", "integer")],
                vec![col("amount_exact", "numeric(10,2)")],
                Rule::Pair {
                    up: vec![expr("(pontoon_row.amount)::numeric", &["amount"])],
                    down: vec![expr(
                        "(pontoon_row.amount_exact)::integer",
                        &["amount_exact"],
                    )],
                    on_conflict: OnConflict::Error,
                },
            ),
            mapping(
                vec![col("email", "text")],
                vec![col("email_normalized", "text")],
                Rule::Fill {
                    up: vec![expr("lower(pontoon_row.email)", &["email"])],
                },
            ),
        ],
    }
}

#[test]
fn a_table_with_two_mappings() {
    insta::assert_snapshot!(install(&orders(), "7f3a_orders").join(";\n"));
    insta::assert_snapshot!("drop", drop(&orders(), "7f3a_orders").join(";\n"));
}

#[test]
fn mappings_that_share_columns_repeat() {
    let mut sync = orders();
    sync.children = vec![TableName::new("public", "orders_old")];
    sync.mappings = vec![
        mapping(
            vec![col("a", "text")],
            vec![col("b", "text")],
            Rule::Pair {
                up: vec![expr("upper(pontoon_row.a)", &["a"])],
                down: vec![expr("lower(pontoon_row.b)", &["b"])],
                on_conflict: OnConflict::Old,
            },
        ),
        mapping(
            vec![col("a", "text")],
            vec![col("c", "text")],
            Rule::Derived {
                up: vec![expr("md5(pontoon_row.a)", &["a"])],
            },
        ),
        mapping(
            vec![col("legacy", "text")],
            vec![],
            Rule::Omitted {
                down: vec![expr("'none'::text", &[])],
            },
        ),
    ];
    sync.conditions = Conditions::InBody;
    insta::assert_snapshot!(install(&sync, "7f3a_orders").join(";\n"));
}

/// A type that may lose: the writer is let pass, and counted.
#[test]
fn a_loss_is_counted_and_no_writer_fails() {
    let mut sync = orders();
    sync.application_triggers = false;
    let rounding = Mapping {
        back: Some(Back::Cast {
            volatility: Volatility::Immutable,
        }),
        ..mapping(
            vec![col("amount", "numeric(12,4)")],
            vec![col("shadow", "numeric(12,2)")],
            Rule::Derived {
                up: vec![expr("CAST(pontoon_row.amount AS numeric)", &["amount"])],
            },
        )
    };
    sync.mappings = vec![rounding.clone()];
    insta::assert_snapshot!("loss", install(&sync, "7f3a_orders").join(";\n"));
    assert!(
        drop(&sync, "7f3a_orders")
            .last()
            .is_some_and(|last| last.contains("_lost"))
    );
    // Where the way back may end in an error, the function is ready for it.
    let text = install(&sync, "a").join("\n");
    assert!(!text.contains("EXCEPTION WHEN OTHERS"), "{text}");
    sync.mappings[0].back = Some(Back::Down {
        down: expr("(1 / pontoon_row.shadow)", &["shadow"]),
    });
    let text = install(&sync, "a").join("\n");
    assert!(text.contains("EXCEPTION WHEN OTHERS"), "{text}");
}

#[test]
fn a_trigger_that_nothing_needs_is_not_created() {
    let mut sync = orders();
    sync.mappings = vec![mapping(
        vec![col("legacy", "text")],
        vec![],
        Rule::Omitted {
            down: vec![expr("'none'::text", &[])],
        },
    )];
    sync.application_triggers = false;
    assert_eq!(trigger_names(&sync, "a"), ["!pontoon_a_i"]);
}

#[test]
fn settings_that_an_expression_reads_keep_it_out_of_when() {
    let mut sync = orders();
    if let Rule::Fill { up } = &mut sync.mappings[1].rule {
        up[0].volatility = Volatility::Stable;
    }
    if let Rule::Pair { up, .. } = &mut sync.mappings[0].rule {
        up[0].volatility = Volatility::Stable;
    }
    let text = install(&sync, "a").join("\n");
    let whens: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("WHEN"))
        .collect();
    assert_eq!(whens.len(), 2, "{text}");
    for when in whens {
        assert!(
            !when.contains("lower") && !when.contains("NEW.amount)::"),
            "{when}"
        );
    }
}

#[test]
fn artifacts_of_two_schemas_differ_and_fit() {
    let long = "a_very_long_table_name_of_sixty_three_bytes_as_postgresql_allows_";
    let one = artifact("0123456789abcdef", &TableName::new("public", long));
    let other = artifact("0123456789abcdef", &TableName::new("app", long));
    assert_ne!(one, other);
    assert!(one.len() <= MAX_ARTIFACT_BYTES, "{one}");
    let odd = artifact("7f3a", &TableName::new("public", "Straße \"x\""));
    assert!(odd.starts_with("7f3a_Straex_"), "{odd}");
}
