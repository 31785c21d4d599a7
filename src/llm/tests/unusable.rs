//! Answers that may not be passed on: asked for again, once.

use super::{fake::*, *};

/// The answer after each of these was the first one, with the requests that were sent.
async fn after(bodies: impl IntoIterator<Item = String>) -> (Result<Completion, LlmError>, Vec<Request>) {
    let fake = Fake::answering(bodies.into_iter().map(|body| ok(&body))).await;
    (ask(&fake).await, fake.requests())
}

fn refusal() -> String {
    json!({"choices": [{"message": {"content": null, "refusal": "I cannot help"}, "finish_reason": "stop"}]})
        .to_string()
}

#[tokio::test]
async fn an_unusable_answer_is_asked_for_again_once() {
    for (bad, why) in [
        (reply("", "stop"), "it is empty"),
        (r#"{"choices":[]}"#.to_owned(), "it is empty"),
        ("<html>busy</html>".to_owned(), "it is empty"),
        (reply("<think>hm</think> ", "stop"), "it is empty"),
        (reply("?!…", "stop"), "it holds no words"),
        (reply("I", "content_filter"), "the model refused"),
        (refusal(), "the model refused"),
    ] {
        let (answer, sent) = after([bad.clone(), reply("Good.", "stop")]).await;
        assert_eq!((answer.unwrap().text.as_str(), sent.len()), ("Good.", 2), "{bad}");
        let (answer, sent) = after([bad.clone(), bad.clone(), reply("Good.", "stop")]).await;
        assert_eq!((answer, sent.len()), (Err(LlmError::Unusable(why)), 2), "{bad}");
    }
}

#[tokio::test]
async fn a_cut_answer_is_asked_for_in_brief_and_all_tokens_count() {
    let (answer, sent) = after([reply("Well. That is a long", "length"), reply("Short.", "stop")]).await;
    let answer = answer.unwrap();
    assert_eq!((answer.text.as_str(), answer.input_tokens, answer.output_tokens), ("Short.", 14, 6));
    let system = |n: usize| sent[n].body["messages"][0]["content"].as_str().unwrap().to_owned();
    assert_eq!(system(0), "Be kind.");
    assert!(system(1).starts_with("Be kind.\n\nBe brief"), "{}", system(1));
}

#[tokio::test]
async fn an_answer_cut_twice_is_repaired_where_it_can_be() {
    let cut = || reply("Well. That is a long", "length");
    let endless = || reply("no end in", "length");
    assert_eq!(after([endless(), cut()]).await.0.unwrap().text, "Well.");
    assert_eq!(after([cut(), endless()]).await.0.unwrap().text, "Well.");
    assert_eq!(after([cut(), reply("", "stop")]).await.0.unwrap().text, "Well.");
    let unusable = Err(LlmError::Unusable("it is cut before its first sentence ends"));
    assert_eq!(after([endless(), endless()]).await.0, unusable);
}

#[tokio::test]
async fn a_cut_answer_is_better_than_a_failure() {
    let fake = Fake::answering([ok(&reply("Well. That is", "length")), Step::Hang]).await;
    let answer = model(&fake).complete(&prompt(), Duration::from_millis(200)).await.unwrap();
    assert_eq!(answer.text, "Well.");
}

#[tokio::test]
async fn thoughts_are_left_out() {
    let (answer, _) = after([reply("<think>The user says hi.</think>\n\nHello.", "stop")]).await;
    assert_eq!(answer.unwrap().text, "Hello.");
}

#[tokio::test]
async fn decisions_are_asked_for_again_and_saved_likewise() {
    async fn decide(first: (&str, &str), second: (&str, &str)) -> (Result<Decision, LlmError>, Vec<Request>) {
        let fake = Fake::answering([first, second].map(|(text, finish)| ok(&reply(text, finish)))).await;
        (model(&fake).decide(&prompt(), LONG).await, fake.requests())
    }
    let good = (r#"{"decision":"no","reply_text":"Sorry."}"#, "stop");
    let cut = (r#"{"decision":"no","reply_text":"Sorry. I am"#, "length");
    let (decision, sent) = decide(("I'd say it depends", "stop"), good).await;
    assert_eq!(decision.unwrap().verdict, Verdict::No);
    assert!(sent[1].body["messages"][0]["content"].as_str().unwrap().ends_with("nothing before or after it."));
    assert_eq!(decide(cut, good).await.0.unwrap().reply_text, "Sorry.");
    assert_eq!(decide(cut, cut).await.0.unwrap().reply_text, "Sorry.");
    let malformed = Err(LlmError::Unusable("it does not have the form asked for"));
    assert_eq!(decide(("{}", "stop"), ("yes", "stop")).await.0, malformed);
}

#[tokio::test]
async fn summaries_are_asked_for_again_and_saved_likewise() {
    async fn summarise(first: (&str, &str), second: (&str, &str)) -> (Result<Summary, LlmError>, Vec<Request>) {
        let fake = Fake::answering([first, second].map(|(text, finish)| ok(&reply(text, finish)))).await;
        (model(&fake).summarise(&prompt(), LONG).await, fake.requests())
    }
    let summary = |requests: &[&str], tokens: (u32, u32)| {
        let requests = requests.iter().map(|&request| request.to_owned()).collect();
        let (input_tokens, output_tokens) = tokens;
        Ok(Summary { summary: "They met.".into(), requests, input_tokens, output_tokens, model: "answering".into() })
    };
    let good = (r#"{"summary":"They met.","requests":["A call."]}"#, "stop");
    let cut = (r#"{"summary":"They met.","requests":["A call.","A k"#, "length");
    let (answer, sent) = summarise(good, good).await;
    assert_eq!((answer, sent.len()), (summary(&["A call."], (7, 3)), 1));
    let (answer, sent) = summarise(("They met.", "stop"), good).await;
    assert_eq!((answer, sent.len()), (summary(&["A call."], (14, 6)), 2));
    assert!(sent[1].body["messages"][0]["content"].as_str().unwrap().ends_with("nothing before or after it."));
    assert_eq!(summarise(cut, cut).await.0, summary(&["A call."], (14, 6)));
    assert_eq!(summarise(cut, ("", "stop")).await.0, summary(&["A call."], (14, 6)));
    let malformed = Err(LlmError::Unusable("it does not have the form asked for"));
    assert_eq!(summarise(("{}", "stop"), ("They met.", "stop")).await.0, malformed);
}
