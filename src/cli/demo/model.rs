//! The demo's model: an OpenAI-compatible server on loopback that plays a script at the pace of a real model.

use super::Failure;
use bytes::Bytes;
use futures_util::stream;
use poem::web::{Data, Json};
use poem::{Body, EndpointExt, Response, Route, handler, post};
use serde_json::{Value, json};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use switchboard::server;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// What it answers to somebody who wants a story.
pub const STORY: &str = "Once upon a time there was a telephone that nobody ever answered. It rang every night at ten, and then \
                         it was silent again. One night a child picked it up and said hello. Since then the two of them talk \
                         every evening.";
const HOURS: &str = "We are open from nine to five, Monday to Friday.";
const NAME: &str = "This is the assistant of the demo. I know a story and our opening hours.";

/// From the request to the first word.
const FIRST_WORD: Duration = Duration::from_millis(300);
/// From each word to the next.
const EACH_WORD: Duration = Duration::from_millis(40);

/// The running model; it stops with its last handle.
#[derive(Clone)]
pub struct Model {
    /// Its `OPENAI_BASE_URL`.
    pub base_url: String,
    /// What it was told last on a call.
    told: Arc<Mutex<Value>>,
    _stop: Arc<tokio_util::sync::DropGuard>,
}

impl Model {
    /// Starts it.
    pub async fn start() -> Result<Self, Failure> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let base_url = format!("http://{}/v1", listener.local_addr()?);
        let (told, stop) = (Arc::<Mutex<Value>>::default(), CancellationToken::new());
        let routes = Route::new().at("/v1/chat/completions", post(complete)).data(told.clone());
        tokio::spawn(server::serve(listener, routes.map_to_response(), stop.clone()));
        Ok(Self { base_url, told, _stop: Arc::new(stop.drop_guard()) })
    }

    /// The messages of the last call's last request.
    pub fn told(&self) -> Value {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)["messages"].clone()
    }
}

#[handler]
fn complete(Json(request): Json<Value>, told: Data<&Arc<Mutex<Value>>>) -> Response {
    if request["stream"] != true {
        let form = json!({
            "decision": "yes", "reply_text": "Yes, gladly!",
            "summary": "The caller wanted to hear a story.", "requests": ["a story"],
        });
        let message = json!({ "role": "assistant", "content": form.to_string() });
        let answer = json!({ "model": "script", "choices": [{ "message": message, "finish_reason": "stop" }] });
        return Response::builder().content_type("application/json").body(answer.to_string());
    }
    let asked = request["messages"].as_array().and_then(|messages| messages.last()?["content"].as_str());
    let answer = match asked.unwrap_or_default() {
        story if story.contains("story") => STORY,
        hours if hours.contains("open") => HOURS,
        _ => NAME,
    };
    *told.lock().unwrap_or_else(PoisonError::into_inner) = request;
    let words = answer.split_inclusive(' ').map(|word| json!([{ "delta": { "content": word } }]));
    let end = json!([{ "delta": {}, "finish_reason": "stop" }]);
    let choices = words.chain([end]).map(|choices| json!({ "model": "script", "choices": choices }).to_string());
    let events: Vec<_> = choices.chain(["[DONE]".to_owned()]).map(|data| format!("data: {data}\n\n")).collect();
    let paced = stream::unfold((events.into_iter(), FIRST_WORD), |(mut events, wait)| async move {
        let event = events.next()?;
        sleep(wait).await;
        Some((Ok::<_, io::Error>(Bytes::from(event)), (events, EACH_WORD)))
    });
    Response::builder().content_type("text/event-stream").body(Body::from_bytes_stream(paced))
}
