//! Where the workers of a scan get their ranges.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::lock;
use crate::db::{Claim, Database, DbError, Fence, RangeRecord};

/// Hands out ranges that are not done.
pub(crate) trait Queue: Sync {
    /// The next range.
    fn take(&self) -> impl Future<Output = Result<Claim, DbError>> + Send;

    /// A range that has more to do, once it has rested.
    fn put_back(
        &self,
        range: &RangeRecord,
        rest: Duration,
    ) -> impl Future<Output = Result<(), DbError>> + Send;
}

/// Ranges that this process alone works on.
pub(crate) struct Listed {
    ranges: Mutex<VecDeque<(RangeRecord, Instant)>>,
}

impl Listed {
    pub(crate) fn new(ranges: Vec<RangeRecord>) -> Self {
        let now = Instant::now();
        Self {
            ranges: Mutex::new(
                ranges
                    .into_iter()
                    .filter(|range| !range.done)
                    .map(|range| (range, now))
                    .collect(),
            ),
        }
    }
}

impl Queue for Listed {
    async fn take(&self) -> Result<Claim, DbError> {
        let mut ranges = lock(&self.ranges);
        let now = Instant::now();
        if let Some(at) = ranges.iter().position(|(_, rested)| *rested <= now) {
            return Ok(match ranges.remove(at) {
                Some((range, _)) => Claim::Range(Box::new(range)),
                None => Claim::Nothing,
            });
        }
        let first = ranges.iter().map(|(_, rested)| *rested).min();
        Ok(first.map_or(Claim::Nothing, |rested| Claim::Later(rested - now)))
    }

    async fn put_back(&self, range: &RangeRecord, rest: Duration) -> Result<(), DbError> {
        lock(&self.ranges).push_back((range.clone(), Instant::now() + rest));
        Ok(())
    }
}

/// Ranges that several processes share: the database says who has which.
pub(crate) struct Claims<'a, D> {
    pub(crate) db: &'a D,
    pub(crate) fence: &'a Fence,
    pub(crate) step: u32,
    pub(crate) pass: u32,
}

impl<D: Database> Queue for Claims<'_, D> {
    async fn take(&self) -> Result<Claim, DbError> {
        self.db.claim(self.fence, self.step, self.pass).await
    }

    async fn put_back(&self, range: &RangeRecord, rest: Duration) -> Result<(), DbError> {
        self.db.give_back(self.fence, range, rest).await
    }
}
