//! Answers in pieces.

use std::time::Instant;

use super::{fake::*, *};

fn end(finish: Finish, input_tokens: u32, output_tokens: u32) -> Piece {
    Piece::End(End { input_tokens, output_tokens, model: "answering".into(), finish })
}

fn broken() -> LlmError {
    LlmError::Unavailable { retry_after: None }
}

/// A stream as most servers send it: content null first, counts in a chunk without choices last.
fn usual(texts: &[&str], finish: &str) -> Step {
    let first = chunk(json!({"role": "assistant", "content": null}), Value::Null);
    let usage = json!({"choices": [], "model": "answering", "service_tier": "x",
        "usage": {"prompt_tokens": 9, "completion_tokens": 4}});
    events([first].into_iter().chain(texts.iter().map(|t| says(t))).chain([ends(finish), usage.to_string()]))
}

async fn hear(script: impl IntoIterator<Item = Step>) -> (String, Result<Piece, LlmError>, Vec<Request>) {
    let fake = Fake::answering(script).await;
    let (text, last) = listen(&model(&fake)).await;
    (text, last, fake.requests())
}

#[tokio::test]
async fn pieces_come_as_they_are_and_end_with_the_counts() {
    let (text, last, sent) = hear([usual(&["Hel", "lo ", "you."], "stop")]).await;
    assert_eq!((text.as_str(), last), ("Hello you.", Ok(end(Finish::Whole, 9, 4))));
    assert_eq!(sent[0].body["stream"], true);
    assert_eq!(sent[0].body["stream_options"], json!({"include_usage": true}));
}

#[tokio::test]
async fn a_piece_is_passed_on_before_the_next_one_is_there() {
    let fake = Fake::answering([Step::Events(vec![Event::Data(says("One. ")), Event::Stay])]).await;
    let mut stream = model(&fake).stream(prompt());
    assert_eq!(stream.next().await, Some(Ok(Piece::Text("One. ".into()))));
    assert_eq!(stream.next().await, Some(Err(LlmError::Timeout)));
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn dropping_the_stream_ends_the_request() {
    for opening in [vec![Event::Stay], vec![Event::Data(says("One. ")), Event::Stay]] {
        let fake = Fake::answering([Step::Events(opening)]).await;
        let mut stream = model(&fake).stream(prompt());
        let _ = tokio::time::timeout(Duration::from_millis(100), stream.next()).await;
        assert_eq!(fake.requests().len(), 1);
        drop(stream);
        tokio::time::timeout(LONG, fake.gone.notified()).await.expect("the connection is closed");
    }
}

#[tokio::test]
async fn the_first_piece_may_take_longer_than_the_next_ones() {
    let slow = Event::Pause(Duration::from_millis(600));
    let script = vec![Event::Raw(": keep-alive\n\n"), slow, Event::Data(says("Yes.")), Event::Data(ends("stop"))];
    let (text, last, _) = hear([Step::Events(script)]).await;
    assert_eq!((text.as_str(), last), ("Yes.", Ok(end(Finish::Whole, 0, 0))));
}

#[tokio::test]
async fn failures_before_the_first_piece_are_retried_and_none_after_it() {
    let null = chunk(json!({"role": "assistant", "content": null}), Value::Null);
    let busy = r#"{"error":{"code":503,"message":"busy"}}"#.to_owned();
    let script = [
        status(429, "", ""),
        Step::Events(vec![Event::Data(null), Event::Break]),
        events([busy.clone()]),
        usual(&["Yes."], "stop"),
    ];
    let (text, last, sent) = hear(script).await;
    assert_eq!((text.as_str(), last, sent.len()), ("Yes.", Ok(end(Finish::Whole, 9, 4)), 4));

    for after in [Event::Break, Event::Data(busy)] {
        let (text, last, sent) =
            hear([Step::Events(vec![Event::Data(says("Yes")), after]), usual(&["No."], "stop")]).await;
        assert_eq!((text.as_str(), last, sent.len()), ("Yes", Err(broken()), 1));
    }
}

#[tokio::test]
async fn a_stream_without_words_is_asked_for_again_once() {
    let filtered = || usual(&[], "content_filter");
    for bad in [|| usual(&[], "stop"), || usual(&["?", "!"], "stop"), filtered, || usual(&["<think>", "a"], "stop")] {
        let (text, _, sent) = hear([bad(), usual(&["Yes."], "stop")]).await;
        assert_eq!((text.as_str(), sent.len()), ("Yes.", 2));
        let (text, last, sent) = hear([bad(), bad(), usual(&["Yes."], "stop")]).await;
        assert_eq!((text.as_str(), sent.len()), ("", 2));
        assert!(matches!(last, Err(LlmError::Unusable(_))), "{last:?}");
    }
}

#[tokio::test]
async fn thoughts_and_events_that_are_not_json_are_passed_over() {
    let pieces = ["<thi", "nk>Hm.", "</think>", "\n\n", "Yes", " <b>."];
    let script = pieces.map(says).into_iter().chain(["not json".to_owned(), ends("stop")]);
    assert_eq!(hear([events(script)]).await.0, "Yes <b>.");
}

#[tokio::test]
async fn the_end_says_how_it_ended() {
    assert_eq!(hear([usual(&["Yes. And"], "length")]).await.1, Ok(end(Finish::Cut, 9, 4)));
    assert_eq!(hear([usual(&["Yes. And"], "content_filter")]).await.1, Ok(end(Finish::Refused, 9, 4)));
    assert_eq!(hear([usual(&["Yes."], "end_turn")]).await.1, Ok(end(Finish::Whole, 9, 4)));
    assert_eq!(hear([events([says("Yes.")])]).await.1, Ok(end(Finish::Whole, 0, 0)));
    assert_eq!(hear([events([says("Yes. And")])]).await.1, Ok(end(Finish::Cut, 0, 0)));
}

#[tokio::test]
async fn counts_that_never_come_are_not_waited_for() {
    let script = vec![Event::Data(says("Yes.")), Event::Data(ends("stop")), Event::Stay];
    let start = Instant::now();
    assert_eq!(hear([Step::Events(script)]).await.1, Ok(end(Finish::Whole, 0, 0)));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn servers_without_stream_options_are_asked_without() {
    let refusal = status(400, "", r#"{"error":"unknown field stream_options"}"#);
    let (text, _, sent) = hear([refusal, usual(&["Yes."], "stop")]).await;
    assert_eq!(text, "Yes.");
    assert!(sent[1].body.get("stream_options").is_none());
}
