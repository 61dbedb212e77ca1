//! What the dual write of one table promises, tried on real servers.
//!
//! Each behaviour is a function of a [`dsl::Case`]. As a test it runs with
//! every rule of the trigger in place, on each version of
//! `$PONTOON_TEST_VERSIONS`. [`every_rule_is_needed`] runs it again with one
//! rule taken out of the rendered SQL, and demands that it fails.

mod behaviours;
mod dsl;
mod mutation;
mod redteam;
mod server;

use std::future::Future;
use std::pin::Pin;

use dsl::{Case, Outcome};
use pontoon_sandbox::test_versions;

type Behaviour = fn(Case) -> Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A behaviour with the rules that it cannot do without.
struct Named {
    name: &'static str,
    run: Behaviour,
    needs: &'static [&'static str],
}

/// Declares each behaviour once: as a test, and with the rules it needs.
macro_rules! behaviours {
    ($($module:ident :: $name:ident needs [$($rule:literal),*];)+) => {
        const BEHAVIOURS: &[Named] = &[
            $(Named {
                name: stringify!($name),
                run: |case| Box::pin($module::$name(case)),
                needs: &[$($rule),*],
            },)+
        ];

        $(
            #[tokio::test]
            async fn $name() -> Outcome {
                for version in test_versions()? {
                    let case = Case { version, without: None };
                    $module::$name(case)
                        .await
                        .map_err(|error| format!("PostgreSQL {version}: {error:?}"))?;
                }
                Ok(())
            }
        )+
    };
}

behaviours! {
    behaviours::old_writes_reach_new needs ["on insert", "on old columns"];
    behaviours::new_writes_reach_old needs ["backward", "on new columns"];
    behaviours::fill_follows_and_yields needs ["follow", "fill"];
    behaviours::derived_is_always_computed needs ["derived"];
    behaviours::omitted_is_filled_on_insert needs ["omitted"];
    behaviours::defaults_are_no_given_values needs [];
    behaviours::old_writes_are_seen needs ["seen", "forward"];
    behaviours::whoever_has_a_row_filled_may_be_old needs ["seen"];
    behaviours::every_way_to_write needs ["backward"];
    behaviours::several_mappings_in_one_batch needs [];
    behaviours::too_long_fails_and_is_not_cut needs [];
    behaviours::odd_names needs [];
    behaviours::nothing_is_left_after_drop needs [];
    behaviours::a_loss_in_an_unfilled_row_is_counted needs ["lost"];
    behaviours::nobody_else_may_use_the_function needs ["revoke"];
    behaviours::batches_and_unrelated_writes_stay_out_of_the_functions needs ["when"];
    behaviours::private_functions_stay_in_the_body needs [];
    behaviours::repair_and_conflict_are_told_apart needs [];
    redteam::moved_before_its_turn needs ["empty", "on empty rows"];
    redteam::moved_before_its_turn_in_a_filled_column needs ["empty"];
    redteam::not_valid_check_on_unfilled needs ["empty"];
    redteam::replica_role needs ["always"];
    redteam::app_before_trigger_reads_new needs ["first triggers", "forward"];
    redteam::app_before_trigger_requires_old needs ["first triggers"];
    redteam::app_before_trigger_trims_old needs ["last", "last triggers"];
    redteam::row_clone needs ["conflict"];
    redteam::column_group needs ["backward"];
    redteam::merged_columns needs ["forward", "backward", "conflict"];
    redteam::split_column needs ["forward", "backward"];
    redteam::one_old_two_new needs ["backward"];
    redteam::chain needs ["repeat", "heal"];
    redteam::images needs [];
    redteam::images_that_equal needs ["images"];
    redteam::stable_up needs ["pins"];
    redteam::explicit_null needs ["backward"];
    redteam::poor_writer needs ["definer", "qualified"];
    redteam::inheritance_child needs ["children"];
    redteam::partition_attached_midway needs ["empty"];
    server::logical_apply needs ["always"];
    server::two_versions_under_load needs [];
    server::old_writes_wait_for_nobody needs [];
}

/// Takes each rule out of the trigger, and looks for the behaviour that fails.
#[tokio::test]
async fn every_rule_is_needed() -> Outcome {
    let version = test_versions()?[0];
    let mut unproven = Vec::new();
    for behaviour in BEHAVIOURS {
        for rule in behaviour.needs {
            let case = Case {
                version,
                without: Some(rule),
            };
            if (behaviour.run)(case).await.is_ok() {
                unproven.push(format!("{} passes without {rule}", behaviour.name));
            }
        }
    }
    assert!(unproven.is_empty(), "{unproven:#?}");
    let named: Vec<&str> = BEHAVIOURS.iter().flat_map(|b| b.needs).copied().collect();
    let forgotten: Vec<String> = mutation::rules()
        .into_iter()
        .filter(|rule| !named.contains(&rule.as_str()))
        .collect();
    assert!(forgotten.is_empty(), "no behaviour needs {forgotten:?}");
    Ok(())
}
