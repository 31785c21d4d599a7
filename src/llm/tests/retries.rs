//! What is sent again, and when.

use std::time::Instant;

use super::{fake::*, *};

const SECOND: Duration = Duration::from_secs(1);

fn hello() -> Step {
    ok(&reply("Hello.", "stop"))
}

#[tokio::test]
async fn passing_failures_are_retried() {
    let fake = Fake::answering([
        status(429, "", r#"{"error":{"message":"slow down"}}"#),
        status(503, "", "upstream"),
        Step::Close(String::new()),
        hello(),
    ])
    .await;
    assert_eq!(ask(&fake).await.unwrap().text, "Hello.");
    assert_eq!(fake.requests().len(), 4);
}

#[tokio::test]
async fn retries_end() {
    let fake = Fake::answering((0..9).map(|_| status(500, "", "oops"))).await;
    assert_eq!(ask(&fake).await, Err(LlmError::Unavailable { retry_after: None }));
    assert_eq!(fake.requests().len(), 4);
}

#[tokio::test]
async fn a_refused_connection_is_unavailable() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let model = Llm::new(&settings(format!("http://{closed}/v1"))).unwrap();
    let gone = LlmError::Unavailable { retry_after: None };
    assert_eq!(model.complete(&prompt(), LONG).await, Err(gone.clone()));
    assert_eq!(listen(&model).await, (String::new(), Err(gone)));
}

#[tokio::test]
async fn other_refusals_are_not_retried_whatever_their_form() {
    for (code, body) in [
        (401, r#"{"error":{"message":"Incorrect API key","type":"invalid_request_error","code":"invalid_api_key"}}"#),
        (400, r#"{"error":{"code":400}}"#),
        (400, r#"{"error":"bad key sk-secret"}"#),
        (400, r#"{"detail":"no"}"#),
        (404, "no such model"),
        (302, ""),
        (403, "<html>"),
    ] {
        let fake = Fake::answering([status(code, "", body), hello()]).await;
        let rejected = LlmError::Rejected { status: code };
        assert_eq!(ask(&fake).await, Err(rejected.clone()), "{body}");
        assert_eq!(fake.requests().len(), 1);
        assert!(!rejected.to_string().contains("key"));
    }
}

#[tokio::test]
async fn a_retry_after_that_fits_is_waited_for() {
    let fake = Fake::answering([status(429, "retry-after: 0.2\r\n", ""), hello()]).await;
    let start = Instant::now();
    assert!(ask(&fake).await.is_ok());
    assert!(start.elapsed() >= SECOND / 5);
}

#[tokio::test]
async fn a_retry_after_that_does_not_fit_fails_at_once_with_the_hint() {
    let dated = "date: Wed, 21 Oct 2026 12:00:00 GMT\r\nretry-after: Wed, 21 Oct 2026 12:00:30 GMT\r\n";
    for (headers, hint) in [("retry-after: 30\r\n", 30), (dated, 30)] {
        let fake = Fake::answering([status(503, headers, ""), hello()]).await;
        let start = Instant::now();
        let error = ask(&fake).await.unwrap_err();
        assert_eq!(error.retry_after(), Some(SECOND * hint));
        assert!(start.elapsed() < SECOND * 5);
        assert_eq!(fake.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_time_out_is_not_retried_and_ends_the_request() {
    let fake = Fake::answering([Step::Hang, hello()]).await;
    let start = Instant::now();
    assert_eq!(model(&fake).complete(&prompt(), SECOND / 10).await, Err(LlmError::Timeout));
    assert!(start.elapsed() < SECOND * 2);
    fake.gone.notified().await;
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn with_no_time_left_nothing_is_sent() {
    let fake = Fake::answering([hello()]).await;
    for _ in 0..20 {
        assert_eq!(model(&fake).complete(&prompt(), Duration::ZERO).await, Err(LlmError::Timeout));
    }
    assert!(ask(&fake).await.is_ok());
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn a_body_cut_by_the_network_is_retried() {
    let fake = Fake::answering([Step::Close("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".into()), hello()]).await;
    assert!(ask(&fake).await.is_ok());
}

#[tokio::test]
async fn a_refusal_whose_body_never_comes_still_counts() {
    let fake = Fake::answering([Step::Events(vec![Event::Stay])]).await;
    assert_eq!(model(&fake).complete(&prompt(), SECOND / 10).await, Err(LlmError::Timeout));
    let head = "HTTP/1.1 429 X\r\ncontent-length: 9\r\nretry-after: 60\r\n\r\n{";
    let fake = Fake::answering([Step::Bytes(head.into())]).await;
    assert_eq!(ask(&fake).await, Err(LlmError::Unavailable { retry_after: Some(SECOND * 60) }));
}

#[tokio::test]
async fn a_dropped_connection_is_replaced_at_once_the_first_time() {
    let dropped = || Step::Close(String::new());
    let slow = |fake: &Fake| Llm::new(&LlmConfig { retry_delay: SECOND * 50, ..settings(fake.url()) }).unwrap();
    let fake = Fake::answering([dropped(), hello()]).await;
    assert!(slow(&fake).complete(&prompt(), SECOND * 5).await.is_ok());
    let fake = Fake::answering([dropped(), dropped(), hello()]).await;
    let gone = Err(LlmError::Unavailable { retry_after: None });
    assert_eq!(slow(&fake).complete(&prompt(), SECOND * 5).await, gone);
    assert_eq!(fake.requests().len(), 2);
}

#[tokio::test]
async fn one_connection_serves_all_requests() {
    let fake = Fake::answering([hello(), status(500, "", "x"), hello()]).await;
    let model = model(&fake);
    model.complete(&prompt(), LONG).await.unwrap();
    model.complete(&prompt(), LONG).await.unwrap();
    let closed = tokio::time::timeout(Duration::from_millis(50), fake.gone.notified()).await;
    assert!(closed.is_err(), "a connection was closed between requests");
}
