//! The built-in stand-in that answers while no model is configured, so that a fresh clone runs its whole job.

use futures_util::{Stream, stream};

use super::{Completion, Decision, End, Finish, LlmError, Piece, Prompt, Verdict};

const MODEL: &str = "offline";
/// How many words of what was heard are said back.
const ECHOED_WORDS: usize = 12;
/// How many words a piece of a streamed answer has.
const PIECE_WORDS: usize = 4;
/// Words that make the stand-in decline a text.
const DECLINING: [&str; 8] = ["no", "not", "never", "cancel", "can't", "cannot", "don't", "won't"];

/// An answer that says what was heard and that no model is configured.
pub(super) fn complete(prompt: &Prompt) -> Completion {
    let text = match echo(prompt.last_said()) {
        Some(heard) => format!("I heard: {heard}. I cannot say more yet, because no language model is configured."),
        None => "I heard nothing, and no language model is configured yet.".to_owned(),
    };
    let (input_tokens, output_tokens) = (told(prompt), words(&text));
    Completion { text, input_tokens, output_tokens, model: MODEL.to_owned() }
}

/// The same answer in pieces.
pub(super) fn stream(prompt: &Prompt) -> impl Stream<Item = Result<Piece, LlmError>> + Send + use<> {
    let Completion { text, input_tokens, output_tokens, model } = complete(prompt);
    let spaced: Vec<&str> = text.split_inclusive(' ').collect();
    let mut pieces: Vec<_> = spaced.chunks(PIECE_WORDS).map(|chunk| Ok(Piece::Text(chunk.concat()))).collect();
    pieces.push(Ok(Piece::End(End { input_tokens, output_tokens, model, finish: Finish::Whole })));
    stream::iter(pieces)
}

/// No to a text that declines something, yes to any other.
pub(super) fn decide(prompt: &Prompt) -> Decision {
    let said = prompt.last_said();
    let declines = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric()).replace('’', "'").to_lowercase();
        DECLINING.contains(&word.as_str())
    };
    let (verdict, word) =
        if said.split_whitespace().any(declines) { (Verdict::No, "no") } else { (Verdict::Yes, "yes") };
    let about = echo(said).map(|heard| format!(" to: {heard}")).unwrap_or_default();
    let reply_text =
        format!("I would say {word}{about}. A person should check, because no language model is configured.");
    let (input_tokens, output_tokens) = (told(prompt), words(&reply_text));
    let reason = Some("No language model is configured.".to_owned());
    Decision { verdict, confidence: None, reason, reply_text, input_tokens, output_tokens, model: MODEL.to_owned() }
}

/// The first words of what was said, without its closing marks; None when there are none.
fn echo(said: &str) -> Option<String> {
    let mut words = said.split_whitespace();
    let head: Vec<&str> = words.by_ref().take(ECHOED_WORDS).collect();
    let head = head.join(" ");
    let head = head.trim_end_matches(['.', '!', '?', ',', ';', ':', '…']);
    let more = if words.next().is_some() { ", and so on" } else { "" };
    (!head.is_empty()).then(|| format!("{head}{more}"))
}

/// Words stand in for tokens.
fn words(text: &str) -> u32 {
    u32::try_from(text.split_whitespace().count()).unwrap_or(u32::MAX)
}

fn told(prompt: &Prompt) -> u32 {
    prompt.messages.iter().fold(words(&prompt.system), |sum, message| sum.saturating_add(words(&message.content)))
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;
    use crate::llm::Message;

    fn prompt(said: &str) -> Prompt {
        let messages = vec![Message::user("Hi"), Message::assistant("Hello there"), Message::user(said)];
        Prompt { system: "Be kind.".into(), messages, ..Prompt::default() }
    }

    #[test]
    fn answers_say_what_was_heard_and_what_is_missing() {
        let answer = complete(&prompt("Where is my order?"));
        assert!(answer.text.starts_with("I heard: Where is my order. "), "{}", answer.text);
        assert!(answer.text.contains("no language model is configured"));
        assert_eq!((answer.input_tokens, answer.model.as_str()), (9, "offline"));
        let long = complete(&prompt(&"word ".repeat(3000)));
        assert!(long.text.len() < 200, "{}", long.text);
        assert!(complete(&prompt(" ")).text.starts_with("I heard nothing"));
        assert!(complete(&Prompt::default()).text.starts_with("I heard nothing"));
    }

    #[tokio::test]
    async fn streams_give_the_same_answer_in_pieces() {
        let prompt = prompt("Where is my order?");
        let pieces: Vec<_> = stream(&prompt).map(Result::unwrap).collect().await;
        let text: String =
            pieces.iter().filter_map(|p| if let Piece::Text(t) = p { Some(t.as_str()) } else { None }).collect();
        assert_eq!(text, complete(&prompt).text);
        assert!(pieces.len() > 3);
        assert!(matches!(pieces.last(), Some(Piece::End(end)) if end.finish == Finish::Whole && end.input_tokens == 9));
    }

    #[test]
    fn decisions_follow_the_text() {
        let yes = decide(&prompt("Can you come at 5?"));
        assert_eq!(yes.verdict, Verdict::Yes);
        assert!(yes.reply_text.starts_with("I would say yes to: Can you come at 5."), "{}", yes.reply_text);
        assert_eq!(decide(&prompt("Please don’t come.")).verdict, Verdict::No);
        assert_eq!(decide(&prompt("NO!")).verdict, Verdict::No);
        assert_eq!(decide(&prompt("I know nothing")).verdict, Verdict::Yes);
    }
}
