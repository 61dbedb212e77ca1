//! What holds of a plan in an environment.

use std::collections::BTreeMap;

use super::ceilings::BOUNDS;
use super::{Ceilings, Config};
use crate::plan::diagnostic::Diagnostic;
use crate::plan::file::{DefaultsFile, EnvironmentFile, GateFile, throttle_text};
use crate::plan::{BackfillOptions, Gate, Limits, Plan};

impl Plan {
    /// The plan as it holds in an environment. The error names each ceiling
    /// that the plan exceeds, at the place in the plan, or an environment
    /// that the configuration does not know.
    pub fn effective(
        &self,
        config: &Config,
        env: Option<&str>,
        ceilings: Ceilings,
    ) -> Result<Plan, Vec<Diagnostic>> {
        let environment = config.environment(env).map_err(|finding| vec![*finding])?;
        let none = DefaultsFile::default();
        let defaults = config.file.defaults.as_ref().unwrap_or(&none);
        let mut plan = self.clone();
        plan.limits = self.limits_in(defaults, environment);
        plan.backfill = self.backfill_in(defaults);
        plan.throttle = throttle_text(&defaults.throttle.clone().unwrap_or_default());
        plan.throttle.extend(self.throttle.clone());
        let over = environment.and_then(|environment| environment.throttle.clone());
        plan.throttle
            .extend(throttle_text(&over.unwrap_or_default()));
        plan.gates = self.gates_in(defaults, environment);

        let exceeded = plan.hold_below(config);
        if ceilings == Ceilings::Hold && !exceeded.is_empty() {
            return Err(exceeded);
        }
        plan.origin.settings = self.spoken(&plan, defaults, environment.zip(env));
        plan.origin.ceilings = config.ceilings();
        plan.origin.forced = ceilings == Ceilings::Exceed;
        Ok(plan)
    }

    /// Who spoke last of each setting of the effective plan.
    fn spoken(
        &self,
        effective: &Plan,
        defaults: &DefaultsFile,
        environment: Option<(&EnvironmentFile, &str)>,
    ) -> BTreeMap<String, String> {
        let with = |environment: Option<&EnvironmentFile>| {
            let mut plan = self.clone();
            plan.limits = self.limits_in(defaults, environment);
            plan.backfill = self.backfill_in(defaults);
            plan
        };
        let (without, within) = (with(None), with(environment.map(|(file, _)| file)));
        let silent = Plan {
            limits: Limits::default(),
            backfill: BackfillOptions::default(),
            ..self.clone()
        };
        let place = |name: &str| format!("environment {name}");
        let mut spoken = BTreeMap::new();
        for (section, key) in BOUNDS {
            let path = format!("{section}.{key}");
            let who = if effective.amount(key) != within.amount(key) {
                "ceiling".to_owned()
            } else if let Some((_, name)) = environment
                && within.amount(key) != without.amount(key)
            {
                place(name)
            } else if self.origin.wrote(&path) {
                "plan".to_owned()
            } else if without.amount(key) != silent.amount(key) {
                "pontoon.yaml".to_owned()
            } else {
                continue;
            };
            spoken.insert(path, who);
        }
        for signal in effective.throttle.keys() {
            let over = environment.filter(|(file, _)| {
                file.throttle
                    .as_ref()
                    .is_some_and(|throttle| throttle.contains_key(signal))
            });
            let who = match over {
                Some((_, name)) => place(name),
                None if self.throttle.contains_key(signal) => "plan".to_owned(),
                None if defaults
                    .throttle
                    .as_ref()
                    .is_some_and(|throttle| throttle.contains_key(signal)) =>
                {
                    "pontoon.yaml".to_owned()
                }
                None => "ceiling".to_owned(),
            };
            spoken.insert(format!("throttle.{signal}"), who);
        }
        spoken
    }

    fn limits_in(&self, defaults: &DefaultsFile, environment: Option<&EnvironmentFile>) -> Limits {
        let silent = Limits::default();
        let base = defaults
            .limits
            .as_ref()
            .map_or(silent.clone(), |file| file.over(silent));
        let wrote = |key: &str| self.origin.wrote(&format!("limits.{key}"));
        let own = &self.limits;
        let said = Limits {
            max_lock_duration: either(
                wrote("max_lock_duration"),
                own.max_lock_duration,
                base.max_lock_duration,
            ),
            lock_patience: either(
                wrote("lock_patience"),
                own.lock_patience,
                base.lock_patience,
            ),
            max_rows_affected: either(
                wrote("max_rows_affected"),
                own.max_rows_affected,
                base.max_rows_affected,
            ),
            max_batch_rows: either(
                wrote("max_batch_rows"),
                own.max_batch_rows,
                base.max_batch_rows,
            ),
        };
        let Some(file) = environment.and_then(|environment| environment.limits.as_ref()) else {
            return said;
        };
        // Where both speak, the lower one holds.
        let mut limits = file.over(said.clone());
        if wrote("max_lock_duration") {
            limits.max_lock_duration = limits.max_lock_duration.min(said.max_lock_duration);
        }
        if wrote("lock_patience") {
            limits.lock_patience = limits.lock_patience.min(said.lock_patience);
        }
        if wrote("max_rows_affected") {
            limits.max_rows_affected = [limits.max_rows_affected, said.max_rows_affected]
                .into_iter()
                .flatten()
                .min();
        }
        if wrote("max_batch_rows") {
            limits.max_batch_rows = limits.max_batch_rows.min(said.max_batch_rows);
        }
        limits
    }

    fn backfill_in(&self, defaults: &DefaultsFile) -> BackfillOptions {
        let silent = BackfillOptions::default();
        let base = defaults
            .backfill
            .as_ref()
            .map_or(silent.clone(), |file| file.over(silent));
        let wrote = |key: &str| self.origin.wrote(&format!("backfill.{key}"));
        let own = &self.backfill;
        BackfillOptions {
            target_batch_time: either(
                wrote("target_batch_time"),
                own.target_batch_time,
                base.target_batch_time,
            ),
            workers: either(wrote("workers"), own.workers, base.workers),
            nice_ratio: either(wrote("nice_ratio"), own.nice_ratio, base.nice_ratio),
            cursor: either(wrote("cursor"), own.cursor, base.cursor),
        }
    }

    fn gates_in(
        &self,
        defaults: &DefaultsFile,
        environment: Option<&EnvironmentFile>,
    ) -> Vec<Gate> {
        let own = match &defaults.gates {
            Some(list) if !self.origin.wrote("gates") => list.iter().map(GateFile::gate).collect(),
            _ => self.gates.clone(),
        };
        let Some(list) = environment.and_then(|environment| environment.gates.as_ref()) else {
            return own;
        };
        // The environment says where to stop; what the plan's author wanted the
        // approver to know is still worth reading there.
        list.iter()
            .map(|file| {
                let mut gate = file.gate();
                if let Some(same) = own.iter().find(|own| own.before == gate.before) {
                    gate.message = gate.message.or_else(|| same.message.clone());
                    gate.old_writes_idle = gate.old_writes_idle.or(same.old_writes_idle);
                }
                gate
            })
            .collect()
    }
}

/// What the plan wrote, or what holds where it is silent.
fn either<T>(wrote: bool, own: T, base: T) -> T {
    if wrote { own } else { base }
}
