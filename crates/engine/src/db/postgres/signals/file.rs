//! `file`: whether a file exists on this machine.

use std::io::ErrorKind as IoError;

use pontoon_core::plan::signals::Watched;

use crate::db::{DbError, ErrorKind, Reading, Sample};

pub(super) async fn sample(watched: &Watched) -> Result<Sample, DbError> {
    let path = watched.text("path").unwrap_or_default();
    let reading = match tokio::fs::symlink_metadata(path).await {
        Ok(_) => Reading::new(1.0).of(format!("{path} exists")),
        Err(error) if error.kind() == IoError::NotFound => Reading::new(0.0),
        // `/a/b/c` where `/a/b` is no directory: there is no such file.
        Err(error) if error.kind() == IoError::NotADirectory => Reading::new(0.0),
        Err(error) => {
            return Err(DbError::new(
                ErrorKind::Failed,
                format!("look for {path}: {error}"),
            ));
        }
    };
    Ok(Sample::Readings(vec![reading]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pontoon_core::plan::signals::watched;

    use super::*;

    async fn at(path: &str) -> Result<Sample, DbError> {
        let throttle = BTreeMap::from([("file".to_owned(), path.to_owned())]);
        let all = watched(&throttle);
        let file = all.iter().find(|it| it.signal.name == "file");
        sample(file.expect("it is on")).await
    }

    #[tokio::test]
    async fn a_file_is_there_or_not_or_cannot_be_looked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hold");
        let text = path.to_str().expect("text");
        let reads = |sample: Result<Sample, DbError>, wanted: f64| match sample.expect("read") {
            Sample::Readings(readings) => {
                assert_eq!(readings[0].value, Ok(wanted));
            }
            Sample::NotYet => panic!("it is known at once"),
        };
        reads(at(text).await, 0.0);
        std::fs::write(&path, "").expect("a file");
        reads(at(text).await, 1.0);
        reads(at(&format!("{text}/below")).await, 0.0);
        let endless = format!("{text}{}", "x".repeat(300));
        assert!(at(&endless).await.is_err(), "a name that is too long");
    }
}
