//! What a process has seen of a cluster's history.
//!
//! Each promotion begins a new timeline, one higher than those before it. Once
//! a primary with timeline 3 has answered, one of the same cluster with
//! timeline 2 was left behind by a failover: it may take writes, and nobody
//! will ever see them. The memory is this process's own; another process that
//! is only told of the old primary cannot know.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::identity::Identity;

type Newest = Arc<Mutex<BTreeMap<String, u32>>>;

/// The highest timeline seen of each cluster, shared by all clones.
#[derive(Clone, Default)]
pub(super) struct History(Arc<Mutex<Newest>>);

impl History {
    /// From now on both know what either one learns.
    pub(super) fn share(&self, other: &History) {
        *lock(&self.0) = other.newest();
    }

    /// Takes note of a server. `Some(newer)`: it was left behind, for a primary
    /// of its cluster has written that timeline.
    pub(super) fn note(&self, seen: &Identity) -> Option<u32> {
        let timeline = seen.timeline.filter(|_| !seen.recovering)?;
        let newest = self.newest();
        let mut newest = lock(&newest);
        let known = newest.entry(seen.system.clone()).or_insert(timeline);
        *known = timeline.max(*known);
        (timeline < *known).then_some(*known)
    }

    fn newest(&self) -> Newest {
        Arc::clone(&lock(&self.0))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was seen is no part of what was asked for.
impl PartialEq for History {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for History {}

#[cfg(test)]
mod tests {
    use super::*;

    fn primary(system: &str, timeline: u32) -> Identity {
        Identity {
            system: system.to_owned(),
            database: "shop".to_owned(),
            started: String::new(),
            timeline: Some(timeline),
            recovering: false,
            read_only: false,
        }
    }

    #[test]
    fn a_primary_with_an_older_timeline_was_left_behind() {
        let history = History::default();
        assert_eq!(history.note(&primary("a", 2)), None);
        assert_eq!(history.note(&primary("a", 3)), None);
        assert_eq!(history.note(&primary("a", 2)), Some(3));
        assert_eq!(history.note(&primary("b", 1)), None, "another cluster");
        let standby = Identity {
            recovering: true,
            timeline: None,
            ..primary("a", 1)
        };
        assert_eq!(history.note(&standby), None);
    }

    #[test]
    fn what_one_learns_the_other_knows() {
        let (one, two) = (History::default(), History::default());
        two.share(&one);
        assert_eq!(one.clone().note(&primary("a", 2)), None);
        assert_eq!(two.note(&primary("a", 1)), Some(2));
    }
}
