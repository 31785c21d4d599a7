//! What the model is told of earlier turns: the last ones with the same user and peer, back to the first long pause.

use crate::clock::{Micros, SECOND};
use crate::db::conversations::Exchange;
use crate::llm::Message;

/// What the model is told in place of the person's words when a call that we placed is answered: the assistant speaks
/// first. In the log such a turn has no words.
pub const CALL_ANSWERED: &str = "(the call is answered)";

/// The same when a machine answered and waits for a message.
pub const MACHINE_LISTENS: &str = "(the answering machine records)";

/// A conversation as the model is told it.
pub struct Thread {
    /// Oldest first, ending with what is said now.
    pub messages: Vec<Message>,
    /// Whether the last answer came too late: it is told whole, and the person has heard at most its beginning.
    pub answer_was_late: bool,
}

/// The conversation that what is `said` now (at `now`) belongs to. `earlier` is newest first; it is followed back until
/// two neighbours lie more than `timeout_seconds` apart.
pub fn thread(earlier: Vec<Exchange>, said: &str, now: Micros, timeout_seconds: i64) -> Thread {
    let timeout = timeout_seconds.saturating_mul(SECOND);
    let mut next_at = now;
    let linked = earlier.into_iter().take_while(|exchange| {
        let linked = next_at - exchange.last_at <= timeout;
        next_at = exchange.said_at;
        linked
    });
    let mut linked: Vec<_> = linked.collect();
    let answer_was_late = linked.first().is_some_and(|last| last.late && last.answer.is_some());
    // What nobody heard is told once more, at the next turn; later it is as if it had never been said.
    for (age, exchange) in linked.iter_mut().enumerate() {
        if let Some(heard) = exchange.heard.take().filter(|_| !(age == 0 && answer_was_late)) {
            exchange.answer = Some(heard);
        }
    }
    linked.reverse();
    let mut messages: Vec<Message> = Vec::with_capacity(2 * linked.len() + 1);
    for exchange in linked {
        if let Some(said) = exchange.said {
            push(&mut messages, Message::user(if said.is_empty() { CALL_ANSWERED.to_owned() } else { said }));
        }
        if let Some(answer) = exchange.answer.filter(|answer| !answer.is_empty()) {
            push(&mut messages, Message::assistant(answer));
        }
    }
    push(&mut messages, Message::user(said));
    Thread { messages, answer_was_late }
}

/// Many models insist that the sides take turns, so words that were never answered join the next ones.
fn push(messages: &mut Vec<Message>, message: Message) {
    match messages.last_mut() {
        Some(last) if last.role == message.role => {
            last.content.push('\n');
            last.content.push_str(&message.content);
        }
        _ => messages.push(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(at_seconds: i64, said: &str, answer: Option<&str>) -> Exchange {
        let at = at_seconds * SECOND;
        Exchange {
            said_at: at,
            last_at: at + SECOND,
            said: Some(said.into()),
            answer: answer.map(str::to_owned),
            heard: None,
            late: false,
        }
    }

    fn told(earlier: Vec<Exchange>, now_seconds: i64) -> Vec<String> {
        let thread = thread(earlier, "now", now_seconds * SECOND, 300);
        thread.messages.into_iter().map(|message| format!("{:?}: {}", message.role, message.content)).collect()
    }

    #[test]
    fn a_pause_longer_than_the_timeout_ends_the_thread() {
        let earlier = vec![
            exchange(1000, "third", Some("3")),
            exchange(900, "second", Some("2")),
            exchange(10, "first", Some("1")),
        ];
        assert_eq!(told(earlier, 1100), ["User: second", "Assistant: 2", "User: third", "Assistant: 3", "User: now"]);
    }

    #[test]
    fn unanswered_words_join_the_next() {
        assert_eq!(told(vec![exchange(1000, "hello?", None)], 1010), ["User: hello?\nnow"]);
    }

    #[test]
    fn of_an_answer_only_what_was_heard_counts_unless_it_is_late_and_the_last() {
        let late = |at| Exchange { heard: Some("It".into()), late: true, ..exchange(at, "what?", Some("It is 42.")) };
        assert_eq!(told(vec![late(1000)], 1010), ["User: what?", "Assistant: It is 42.", "User: now"]);
        let later = vec![exchange(1005, "and?", Some("So.")), late(1000)];
        assert_eq!(told(later, 1010), ["User: what?", "Assistant: It", "User: and?", "Assistant: So.", "User: now"]);
        let cut = Exchange { late: false, ..late(1000) };
        assert_eq!(told(vec![cut], 1010), ["User: what?", "Assistant: It", "User: now"]);
    }

    #[test]
    fn who_was_called_and_who_was_written_to_said_nothing() {
        let text = Exchange { said: None, ..exchange(1005, "", Some("It is 42.")) };
        let earlier = vec![text, exchange(1000, "", Some("Hello Ann."))];
        let expected = ["User: (the call is answered)", "Assistant: Hello Ann.\nIt is 42.", "User: now"];
        assert_eq!(told(earlier, 1010), expected);
    }

    #[test]
    fn an_answer_nobody_heard_is_none() {
        assert_eq!(told(vec![exchange(1000, "hello?", Some(""))], 1010), ["User: hello?\nnow"]);
    }

    #[test]
    fn without_a_recent_exchange_only_the_words_themselves_are_told() {
        assert_eq!(told(vec![exchange(0, "old", Some("1"))], 302), ["User: now"]);
    }
}
