//! Your SQL, and endpoints that answer, refuse and hang.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pontoon_engine::db::Database;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{fails, readings};
use crate::support::{Bed, postgres};

#[tokio::test]
async fn a_query_answers_refuses_and_hangs() {
    let bed = Bed::new(
        "CREATE TABLE jobs (queue text, n int); INSERT INTO jobs VALUES ('mail', 7), ('pdf', 3);
         CREATE FUNCTION write() RETURNS int LANGUAGE sql AS $$ INSERT INTO jobs VALUES ('x', 1) RETURNING n $$",
    )
    .await;
    let mut sampler = bed.pg.sampler(bed.fence.run);
    let sql = |sql: &str| format!(r#"{{"sql":"{sql}","timeout":"300ms"}}"#);
    for (query, wanted) in [
        ("SELECT sum(n) FROM jobs", 10.0),
        ("SELECT 1.5; -- done", 1.5),
        ("SELECT true", 1.0),
        ("VALUES (4)", 4.0),
    ] {
        let found = readings(&mut sampler, "query", &sql(query)).await;
        assert_eq!(found[0].value, Ok(wanted), "{query}");
    }
    let rows = readings(&mut sampler, "query", &sql("SELECT queue, n FROM jobs")).await;
    let named: Vec<_> = rows
        .iter()
        .map(|it| (it.subject.clone(), it.value.clone()))
        .collect();
    assert_eq!(
        named,
        [
            (Some("mail".to_owned()), Ok(7.0)),
            (Some("pdf".to_owned()), Ok(3.0))
        ]
    );
    for (query, part) in [
        ("SELECT n FROM jobs WHERE false", "no row"),
        ("SELECT NULL", "NULL"),
        ("SELECT 'many'", "no number"),
        ("SELECT 'NaN'::float8", "no number"),
        ("SELECT 1, 2, 3", "3 columns"),
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELECT write()", "read-only"),
        ("SELECT pg_sleep(30), 1", "statement timeout"),
    ] {
        let error = fails(&mut sampler, "query", &sql(query)).await;
        assert!(error.message.contains(part), "{query}: {}", error.message);
    }
    // The connection is as good as before.
    let found = readings(&mut sampler, "query", &sql("SELECT count(*) FROM jobs")).await;
    assert_eq!(found[0].value, Ok(2.0));
    // One that is given up half way leaves nothing that the next one meets.
    let watched = super::signal(
        "query",
        r#"{"sql":"SELECT 1, pg_sleep(20)","timeout":"15s"}"#,
    );
    let given_up = tokio::time::timeout(
        Duration::from_millis(200),
        pontoon_engine::db::Sampler::sample(&mut sampler, &watched),
    );
    given_up.await.expect_err("it hangs");
    let found = readings(&mut sampler, "query", &sql("SELECT 5")).await;
    assert_eq!(found[0].value, Ok(5.0));
}

/// An endpoint that gives this answer to everybody, and what it was asked.
async fn endpoint(answer: Option<&'static str>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let place = listener.local_addr().expect("an address").to_string();
    let authorized = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&authorized);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                let read = stream.read(&mut request).await.unwrap_or(0);
                let text = String::from_utf8_lossy(&request[..read]).into_owned();
                // joe:s3cret
                if text.contains("Basic am9lOnMzY3JldA==") && text.contains("GET /go?token=t0ken ")
                {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                match answer {
                    Some(answer) => {
                        let _sent = stream.write_all(answer.as_bytes()).await;
                        let _closed = stream.shutdown().await;
                    }
                    None => tokio::time::sleep(Duration::from_secs(60)).await,
                }
            });
        }
    });
    (place, authorized)
}

#[tokio::test]
async fn an_endpoint_answers_refuses_and_hangs() {
    let bed = Bed::new("").await;
    // No database is asked.
    let pg = postgres("postgresql://nobody@127.0.0.1:1/nowhere");
    let mut sampler = pg.sampler(bed.fence.run);
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n42\n";
    let busy = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    let moved = "HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n";
    let chunked =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n4.\r\n2\r\n5\n\r\n0\r\n\r\n";
    let closes = "HTTP/1.0 200 OK\r\n\r\n7";

    let (up, _) = endpoint(Some(ok)).await;
    let found = readings(
        &mut sampler,
        "http",
        &format!("http://{up}/gate?token=t0ken"),
    )
    .await;
    assert_eq!(found[0].value, Ok(200.0));
    assert_eq!(
        found[0].subject.as_deref(),
        Some(format!("http://{up}/gate").as_str()),
        "without its query"
    );
    let (down, _) = endpoint(Some(busy)).await;
    let found = readings(&mut sampler, "http", &format!("http://{down}/")).await;
    assert_eq!(found[0].value, Ok(503.0));

    let body = |place: &str| format!(r#"{{"url":"http://{place}/","read":"body","limit":50}}"#);
    for (answer, wanted) in [(ok, 42.0), (chunked, 4.5), (closes, 7.0)] {
        let (place, _) = endpoint(Some(answer)).await;
        let found = readings(&mut sampler, "http", &body(&place)).await;
        assert_eq!(found[0].value, Ok(wanted), "{answer}");
    }
    let garbage = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno";
    for (answer, part) in [
        (garbage, "no number"),
        (busy, "status 503"),
        ("SSH-2.0-nonsense\r\n", "ask http://"),
        ("", "ask http://"),
    ] {
        let (place, _) = endpoint(Some(answer)).await;
        let error = fails(&mut sampler, "http", &body(&place)).await;
        assert!(error.message.contains(part), "{answer}: {}", error.message);
    }
    let (away, _) = endpoint(Some(moved)).await;
    let error = fails(&mut sampler, "http", &format!("http://{away}/")).await;
    assert!(error.message.contains("redirects"), "{}", error.message);

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let closed = listener.local_addr().expect("an address");
    drop(listener);
    let error = fails(
        &mut sampler,
        "http",
        &format!("http://{closed}/x?token=t0ken"),
    )
    .await;
    assert!(error.message.contains("refused"), "{}", error.message);
    assert!(!error.message.contains("t0ken"), "{}", error.message);

    let (hung, _) = endpoint(None).await;
    let begun = Instant::now();
    let text = format!(r#"{{"url":"http://{hung}/","timeout":"200ms"}}"#);
    let error = fails(&mut sampler, "http", &text).await;
    assert!(
        error.message.contains("no answer within 200ms"),
        "{}",
        error.message
    );
    assert!(begun.elapsed() < Duration::from_secs(20));
    // Who speaks plain text where TLS is wanted.
    let error = fails(&mut sampler, "http", &format!("https://{up}/")).await;
    assert!(error.message.contains("ask https://"), "{}", error.message);
    // The variable's name is told, for it is no secret.
    let text = r#"{"url_env":"PONTOON_TEST_NO_SUCH_GATE"}"#;
    let error = fails(&mut sampler, "http", text).await;
    assert!(error.message.contains("$PONTOON_TEST_NO_SUCH_GATE"));

    // A login is sent and never shown. (Plans may not hold one; a variable may.)
    let (place, authorized) = endpoint(Some(busy)).await;
    let text = format!("http://joe:s3cret@{place}/go?token=t0ken");
    let found = readings(&mut sampler, "http", &text).await;
    assert_eq!(authorized.load(Ordering::Relaxed), 1);
    assert!(!format!("{found:?}").contains("s3cret"), "{found:?}");
    assert!(!format!("{found:?}").contains("t0ken"), "{found:?}");
}
