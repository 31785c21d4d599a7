//! Recordings are fetched from Twilio with the account's credentials, which nobody else gets.

use crate::support::app::{ACCOUNT, TOKEN};
use crate::support::scripted_server::{Server, Step};
use secrecy::SecretString;
use std::sync::{Arc, Mutex};
use switchboard::config::AccountSid;
use switchboard::twilio::rest::{Rest, RestError};

/// Each request's path, and whether it came with credentials.
type Seen = Arc<Mutex<Vec<(String, bool)>>>;

/// A server that gives every request this answer.
async fn server(answer: Vec<u8>) -> (Server, Seen) {
    let seen = Seen::default();
    let told = seen.clone();
    let server = Server::start(move |request| {
        told.lock().unwrap().push((request.path.clone(), request.header("authorization").is_some()));
        vec![Step::Write(answer.clone()), Step::Cut]
    });
    (server.await, seen)
}

fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn rest(server: &Server) -> Rest {
    let (http, account) = (Rest::client().unwrap(), AccountSid::parse(ACCOUNT).unwrap());
    Rest::new(http, &format!("http://{}", server.address()), account, &SecretString::from(TOKEN))
}

fn url(server: &Server) -> String {
    format!("http://{}/2010-04-01/Accounts/{ACCOUNT}/Recordings/RE1", server.address())
}

#[tokio::test]
async fn a_recording_comes_as_mp3() {
    let (twilio, seen) = server(answer("200 OK", b"ID3 and so on")).await;
    assert_eq!(rest(&twilio).fetch_recording(&url(&twilio)).await.unwrap(), b"ID3 and so on");
    let path = format!("/2010-04-01/Accounts/{ACCOUNT}/Recordings/RE1.mp3");
    assert_eq!(*seen.lock().unwrap(), [(path, true)]);
}

#[tokio::test]
async fn a_redirect_to_a_store_is_followed_without_credentials() {
    let (store, at_store) = server(answer("200 OK", b"ID3")).await;
    let location = format!("307 Temporary Redirect\r\nlocation: http://{}/stored/RE1", store.address());
    let (twilio, at_twilio) = server(answer(&location, b"")).await;
    assert_eq!(rest(&twilio).fetch_recording(&url(&twilio)).await.unwrap(), b"ID3");
    assert!(matches!(at_twilio.lock().unwrap()[..], [(_, true)]));
    assert_eq!(*at_store.lock().unwrap(), [("/stored/RE1".to_owned(), false)]);
}

#[tokio::test]
async fn another_hosts_url_is_not_asked() {
    let (stranger, seen) = server(answer("200 OK", b"ID3")).await;
    let (twilio, _) = server(answer("200 OK", b"ID3")).await;
    let fetched = rest(&twilio).fetch_recording(&url(&stranger)).await;
    assert!(matches!(fetched, Err(RestError::Unusable(_))), "{fetched:?}");
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_recording_that_cannot_be_had_is_told_by_what_may_be_done_next() {
    let outcome = async |answer| {
        let (twilio, _) = server(answer).await;
        rest(&twilio).fetch_recording(&url(&twilio)).await.unwrap_err()
    };
    let missing = outcome(answer("404 Not Found", b"{\"code\":20404}")).await;
    assert!(matches!(missing, RestError::Refused { status: 404, code: Some(20404) }), "{missing:?}");
    let strange = outcome(answer("401 Unauthorized", b"")).await;
    assert!(matches!(strange, RestError::Credentials(401)), "{strange:?}");
    let busy = outcome(answer("429 Too Many Requests\r\nretry-after: 7", b"")).await;
    assert!(matches!(busy, RestError::NotTaken { retry_after: Some(_), .. }), "{busy:?}");
    let cut = outcome(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nID3".to_vec()).await;
    assert!(matches!(cut, RestError::Unreachable(_)), "{cut:?}");
    let large = outcome(answer("200 OK", &vec![0; 20_000_001])).await;
    assert!(matches!(large, RestError::Unusable(_)), "{large:?}");
}
