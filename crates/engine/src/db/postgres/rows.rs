//! The four methods that scan: `ranges`, `batch`, `verify_chunk`, `sample`.
//!
//! Interim, agreed between two pieces of work that land one after the other:
//! the modules `batch`, `verify`, `ranges` and `signals` replace these
//! functions, and this file goes away with them.

use uuid::Uuid;

use super::Postgres;
use crate::db::{
    BatchReport, BatchRequest, DbError, ErrorKind, Fence, RangeRecord, Reading, Scan, VerifyReport,
    VerifyRequest,
};

fn missing(what: &str) -> DbError {
    DbError::new(
        ErrorKind::Internal,
        format!("{what}: this build has no scans"),
    )
}

pub(crate) async fn ranges(_: &Postgres, _: &Fence, _: &Scan) -> Result<Vec<RangeRecord>, DbError> {
    Err(missing("make ranges"))
}

pub(crate) async fn batch(
    _: &Postgres,
    _: &Fence,
    _: &BatchRequest,
) -> Result<BatchReport, DbError> {
    Err(missing("run a batch"))
}

pub(crate) async fn verify_chunk(
    _: &Postgres,
    _: &Fence,
    _: &VerifyRequest,
) -> Result<VerifyReport, DbError> {
    Err(missing("verify a chunk"))
}

pub(crate) async fn sample(_: &Postgres, _: &str, _: Uuid) -> Result<Vec<Reading>, DbError> {
    Err(missing("sample a signal"))
}
