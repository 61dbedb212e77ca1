use super::*;
use crate::expr::{Expr, Volatility};
use crate::name::TableName;
use crate::step::{Ddl, MappedColumn, Mapping, Phase, Rule, Sync};

fn email() -> Sync {
    Sync {
        conditions: crate::step::Conditions::InWhen,
        application_triggers: true,
        table: TableName::new("public", "users"),
        children: vec![],
        mappings: vec![Mapping {
            operation: 0,
            old: vec![mapped("email")],
            new: vec![mapped("email_normalized")],
            rule: Rule::Fill {
                up: vec![Expr {
                    template: "lower(pontoon_row.email)".into(),
                    columns: vec!["email".into()],
                    volatility: Volatility::Immutable,
                }],
            },
            required: true,
            back: None,
        }],
    }
}

fn mapped(name: &str) -> MappedColumn {
    MappedColumn {
        name: name.into(),
        type_name: "text".into(),
        default: None,
    }
}

fn step(action: Action, undo: Undo) -> Step {
    Step {
        no: 3,
        phase: Phase::Backfill,
        name: "a step".into(),
        operations: vec![0],
        action,
        undo,
    }
}

const RUN: &str = "7f3a";

#[test]
fn a_batch_and_a_verify_pass_can_be_read() {
    let Sync {
        table, mappings, ..
    } = email();
    let batch = step(
        Action::Backfill(Backfill {
            table: table.clone(),
            work: BackfillWork::Mappings {
                mappings: mappings.clone(),
            },
            cursor: None,
        }),
        Undo::Nothing,
    );
    assert_eq!(
        texts(&batch, RUN),
        ["UPDATE ONLY \"public\".\"users\" AS t\n\
          SET \"email_normalized\" = lower(t.email)\n\
          WHERE (t.\"email_normalized\" IS NOT DISTINCT FROM NULL AND \
          (lower(t.email)) IS DISTINCT FROM NULL)"]
    );
    let verify = step(Action::Verify(Verify { table, mappings }), Undo::Nothing);
    assert_eq!(
        texts(&verify, RUN),
        ["SELECT t.*\nFROM ONLY \"public\".\"users\" AS t\n\
          WHERE ((t.\"email_normalized\" IS NOT DISTINCT FROM NULL AND \
          (lower(t.email)) IS DISTINCT FROM NULL) OR \
          t.\"email_normalized\" IS NOT DISTINCT FROM NULL)"]
    );
}

#[test]
fn a_dual_write_and_its_end_speak_of_the_same_names() {
    let install = step(
        Action::Sync(email()),
        Undo::Steps {
            actions: vec![Action::Ddl(Ddl {
                changes: vec![crate::step::Change::DropSync { sync: email() }],
                cutover: false,
            })],
        },
    );
    let artifact = sync::artifact("7f3a", &email().table);
    let (there, back) = (texts(&install, RUN), undo_texts(&install, RUN));
    for name in sync::trigger_names(&email(), &artifact) {
        assert!(there.iter().any(|text| text.contains(&name)), "{name}");
        assert!(back.iter().any(|text| text.contains(&name)), "{name}");
    }
    assert!(
        back.iter()
            .any(|text| text.contains(&sync::function_name(&artifact)))
    );
}
