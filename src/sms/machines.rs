//! Texts behind which nobody waits for an answer: automatic replies, and reactions to messages as telephones write
//! them. What they look like is in `machines.toml`.

use crate::db::messages::reason;
use crate::twilio::address::Address;
use serde::Deserialize;
use std::sync::LazyLock;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    headings: Vec<String>,
    replies: Vec<String>,
    reactions: Vec<String>,
}

static KNOWN: LazyLock<Known> =
    LazyLock::new(|| toml::from_str(include_str!("machines.toml")).expect("a test reads the file"));

/// Why a text from this address has nobody who waits for an answer, if it has none.
pub fn nobody(from: &Address<'_>, text: &str) -> Option<&'static str> {
    if from.is_nobody() {
        return Some(reason::NO_PERSON);
    }
    let text = text.trim().to_lowercase().replace(['‘', '’'], "'").replace(['“', '”'], "\"");
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_one_of = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, &line));
    if KNOWN.headings.iter().any(|heading| is_headed(heading, &text)) || is_one_of(&KNOWN.replies) {
        Some(reason::AUTO_REPLY)
    } else if is_one_of(&KNOWN.reactions) {
        Some(reason::REACTION)
    } else {
        None
    }
}

/// Whether a text has this heading: in brackets, or before a mark or on a line of its own; and something after it.
fn is_headed(heading: &str, text: &str) -> bool {
    let bare = text.trim_start_matches(['[', '(', '<', '*', '【', '（']);
    let Some(rest) = bare.strip_prefix(heading) else { return false };
    let rest = rest.trim_start_matches(' ');
    let ends = rest.starts_with([':', '.', '!', ']', ')', '>', '*', '\n', '\r', '：', '。', '！', '】', '）']);
    ends && rest.contains(char::is_alphanumeric)
}

/// Whether the whole text is like a pattern, in which `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(text: &str) -> Option<&'static str> {
        nobody(&Address::parse("+14155550123"), text)
    }

    #[test]
    fn automatic_replies_are_known() {
        for text in [
            "Auto-reply: I am away.",
            "[Auto-Reply] I'm away until Monday.",
            "AUTOMATIC REPLY\nI am on holiday.",
            "Out of office: back on Monday",
            "[OOO] Back on Monday",
            "OOO: back on Monday",
            "Abwesenheitsnotiz: Ich bin im Urlaub.",
            "Réponse automatique : je suis absent.",
            "【自动回复】您好，我现在不在。",
            "Thank you for your message. I am currently out of the office.",
            "I’m driving with Do Not Disturb While Driving turned on. I’ll see your message when I get where I’m going.",
            "I am out of the office until May 5. I will answer then.",
            "This number is not monitored. Please call us.",
        ] {
            assert_eq!(why(text), Some(reason::AUTO_REPLY), "{text}");
        }
    }

    #[test]
    fn people_who_write_about_them_are_answered() {
        for text in [
            "Do you have an auto-reply?",
            "Auto-reply",
            "Can you set my out of office: please",
            "Out of office",
            "Ooo! I would love to come",
            "Out of office today, can we meet tomorrow?",
            "I'm out of the office, call me on my mobile",
            "Is this an automated message?",
            "What should an automatic reply say?",
            "Automatic replies are annoying.",
            "I liked \"Dune\", and you?",
            "Loved it!",
            "",
        ] {
            assert_eq!(why(text), None, "{text}");
        }
    }

    #[test]
    fn reactions_are_known() {
        for text in [
            "Liked “See you at five”",
            "Laughed at an image",
            "Reacted 👍 to “Yes, I can help you tomorrow.”",
            "Removed a heart from “Hello”",
            "\u{200a}\u{200b}👍\u{200b} to “\u{200a}Hello\u{200a}”\u{200a}",
        ] {
            assert_eq!(why(text), Some(reason::REACTION), "{text}");
        }
    }

    #[test]
    fn short_codes_and_names_are_nobody() {
        for (from, expected) in [
            ("88888", Some(reason::NO_PERSON)),
            ("MyBank", Some(reason::NO_PERSON)),
            ("+14155550123", None),
            ("whatsapp:+14155550123", None),
            ("messenger:12345", None),
        ] {
            assert_eq!(nobody(&Address::parse(from), "Hello"), expected, "{from}");
        }
    }
}
