//! The caller's ConversationRelay with a scripted WebSocket server.

use crate::support::app::{CALLER, OURS, TOKEN};
use crate::support::caller::{Ending, Phone};
use crate::support::signing::sign;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

type Socket = WebSocketStream<TcpStream>;

/// A gateway whose every call is connected with ConversationRelay; `talk` is its side of a session.
async fn gateway<T: Future<Output = ()> + Send + 'static>(talk: impl Fn(Socket) -> T + Send + 'static) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut start = [0; 4];
            socket.peek(&mut start).await.unwrap();
            if &start == b"GET " {
                if let Ok(socket) = accept_hdr_async(socket, check_signature).await {
                    tokio::spawn(talk(socket));
                }
                continue;
            }
            // `Called` is the last field that every request has.
            let mut request = String::new();
            while !request.contains("&Called=") {
                let mut bytes = [0; 4096];
                let count = socket.read(&mut bytes).await.unwrap();
                request.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
            }
            let verbs = match request.split(' ').nth(1).unwrap() {
                "/twilio/voice" => format!(
                    r#"<Connect action="/ended"><ConversationRelay url="wss://{address}/relay" language="de-DE" welcomeGreeting="Hi.">
                        <Parameter name="token" value="t1"/></ConversationRelay></Connect>"#
                ),
                _ => "<Hangup/>".to_owned(),
            };
            let body = format!("<Response>{verbs}</Response>");
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/xml; charset=utf-8\r\nConnection: close\r\n";
            let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    format!("http://{address}")
}

#[expect(clippy::result_large_err, reason = "the signature that tungstenite asks for")]
fn check_signature(request: &Request, response: Response) -> Result<Response, ErrorResponse> {
    let url = format!("ws://{}{}", request.headers()["host"].to_str().unwrap(), request.uri().path());
    let signature = request.headers().get("x-twilio-signature").map(|value| value.to_str().unwrap());
    if signature == Some(sign(TOKEN, &url, &[]).as_str()) {
        return Ok(response);
    }
    let mut refusal = ErrorResponse::new(None);
    *refusal.status_mut() = http::StatusCode::FORBIDDEN;
    Err(refusal)
}

async fn next(socket: &mut Socket) -> Value {
    serde_json::from_str(socket.next().await.unwrap().unwrap().to_text().unwrap()).unwrap()
}

async fn send(socket: &mut Socket, message: Value) {
    socket.send(Message::text(message.to_string())).await.unwrap();
}

async fn dial(base: &str) -> Phone {
    let mut phone = Phone::towards(base, CALLER, OURS);
    phone.dials().await;
    phone
}

#[tokio::test]
async fn a_session_is_set_up_talked_through_and_handed_over() {
    let base = gateway(|mut socket| async move {
        let setup = next(&mut socket).await;
        assert_eq!((&setup["type"], &setup["customParameters"]), (&json!("setup"), &json!({ "token": "t1" })));
        assert_eq!(
            (&setup["from"], &setup["to"], &setup["direction"]),
            (&json!(CALLER), &json!(OURS), &json!("inbound"))
        );
        let partial = next(&mut socket).await;
        assert_eq!((&partial["voicePrompt"], &partial["last"]), (&json!("Wie"), &json!(false)));
        let prompt = next(&mut socket).await;
        assert_eq!(
            (&prompt["type"], &prompt["lang"], &prompt["last"]),
            (&json!("prompt"), &json!("de-DE"), &json!(true))
        );
        send(&mut socket, json!({ "type": "text", "token": "Gut, " })).await;
        send(&mut socket, json!({ "type": "language", "ttsLanguage": "en-US", "transcriptionLanguage": "en-US" }))
            .await;
        send(&mut socket, json!({ "type": "text", "token": "fine.", "last": true })).await;
        assert_eq!(next(&mut socket).await, json!({ "type": "dtmf", "digit": "0" }));
        let interrupt =
            json!({ "type": "interrupt", "utteranceUntilInterrupt": "Gut", "durationUntilInterruptMs": 300 });
        assert_eq!(next(&mut socket).await, interrupt);
        assert_eq!(next(&mut socket).await["lang"], "en-US");
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("not JSON"));
        send(&mut socket, json!({ "type": "end", "handoffData": "{\"reason\":\"done\"}" })).await;
    })
    .await;
    let mut phone = dial(&base).await;
    assert_eq!(phone.hears(), ["Hi."]);
    assert!(phone.connect().is_some());
    let mut relay = phone.relay().await;
    relay.says_partially("Wie").await;
    relay.says("Wie geht's?").await;
    assert_eq!(relay.next_message().await["token"], "Gut, ");
    assert_eq!(relay.hears_turn().await, "fine.");
    assert_eq!(relay.received().len(), 3);
    relay.presses('0').await;
    relay.interrupts("Gut", 300).await;
    relay.says("Goodbye").await;
    relay.sends_raw("not JSON").await;
    let end = relay.until_end().await;
    assert_eq!(end.handoff_data(), Some(r#"{"reason":"done"}"#));
    phone.relay_ended(end).await;
    let asked = &phone.trace()[1];
    assert_eq!((asked.path(), asked.field("SessionStatus")), ("/ended", Some("ended")));
    assert_eq!(asked.field("HandoffData"), Some(r#"{"reason":"done"}"#));
    assert_eq!(phone.ended_by(), Some(Ending::Hangup));
}

#[tokio::test]
async fn a_session_may_be_lost_in_every_way() {
    let base = gateway(|mut socket| async move {
        // Cut as soon as something is said.
        while socket.next().await.is_some_and(|frame| frame.is_ok_and(|frame| !frame.to_string().contains("prompt"))) {}
    })
    .await;
    for (way, session, call) in [
        ("cut", "failed", "in-progress"),
        ("closed", "failed", "in-progress"),
        ("dropped", "failed", "in-progress"),
        ("hung up", "completed", "completed"),
    ] {
        let mut phone = dial(&base).await;
        let mut relay = phone.relay().await;
        let end = match way {
            "cut" => {
                relay.says("Cut").await;
                relay.until_cut().await
            }
            "closed" => relay.closes().await,
            "dropped" => relay.drops(),
            _ => relay.hangs_up().await,
        };
        phone.relay_ended(end).await;
        let asked = &phone.trace()[1];
        assert_eq!((asked.field("SessionStatus"), asked.field("CallStatus")), (Some(session), Some(call)), "{way}");
        assert!(phone.has_ended());
    }
}

#[tokio::test]
async fn a_handshake_needs_its_signature() {
    let base = gateway(|_| async {}).await;
    let phone = dial(&base).await;
    let right = sign(TOKEN, &format!("{}/relay", base.replace("http", "ws")), &[]);
    assert_eq!(phone.handshake_status(Some(&right)).await, 101);
    assert_eq!(phone.handshake_status(Some("wrong")).await, 403);
    assert_eq!(phone.handshake_status(None).await, 403);
}

#[tokio::test]
async fn a_message_that_twilio_would_not_take_is_noticed() {
    for message in [
        json!({ "type": "text" }),
        json!({ "type": "text", "token": "a", "last": "true" }),
        json!({ "type": "play", "source": "hold.wav" }),
        json!({ "type": "sendDigits", "digits": "x" }),
        json!({ "type": "language" }),
        json!({ "type": "end", "handoffData": {} }),
        json!({ "type": "speak", "token": "a" }),
    ] {
        let sent = message.clone();
        let base = gateway(move |mut socket| {
            let sent = sent.clone();
            async move {
                send(&mut socket, sent).await;
                next(&mut socket).await;
                socket.next().await;
            }
        })
        .await;
        let mut relay = dial(&base).await.relay().await;
        let read = tokio::spawn(async move { relay.next_message().await });
        assert!(read.await.unwrap_err().is_panic(), "{message}");
    }
}
