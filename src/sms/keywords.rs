//! The words with which a person stops and starts texts. Twilio confirms them itself, so the gateway only remembers them.
//! (twilio.com/docs/messaging, "Advanced Opt-Out": the default keywords, whole message, any case.)

/// What a keyword asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keyword {
    /// No more texts.
    Stop,
    /// Texts again.
    Start,
    /// Who is this?
    Help,
}

const STOP: [&str; 8] = ["STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"];
const START: [&str; 2] = ["START", "UNSTOP"];
const HELP: [&str; 2] = ["HELP", "INFO"];

/// The keyword that a text is, if it is nothing else: blanks and punctuation around it do not matter. `opt_out_type` is
/// Twilio's own reading (`OptOutType`), which wins.
pub fn keyword(text: &str, opt_out_type: Option<&str>) -> Option<Keyword> {
    match opt_out_type {
        Some("STOP") => return Some(Keyword::Stop),
        Some("START") => return Some(Keyword::Start),
        Some("HELP") => return Some(Keyword::Help),
        _ => {}
    }
    let word = bare(text);
    let is_one_of = |words: &[&str]| words.iter().any(|known| word.eq_ignore_ascii_case(known));
    if is_one_of(&STOP) {
        Some(Keyword::Stop)
    } else if is_one_of(&START) {
        Some(Keyword::Start)
    } else if is_one_of(&HELP) {
        Some(Keyword::Help)
    } else {
        None
    }
}

/// Whether a text begins with a stop word as a sentence of its own and goes on with nothing but politeness: "Stop. Thank you".
/// Twilio, which reads whole messages only, takes no notice of it. `is_courtesy` tells whether the rest is nothing more.
pub fn is_polite_stop(text: &str, is_courtesy: impl Fn(&str) -> bool) -> bool {
    let Some((first, rest)) = text.trim_start().split_once(['.', '!', '\n', '。', '！']) else { return false };
    keyword(first, None) == Some(Keyword::Stop) && (bare(rest).eq_ignore_ascii_case("please") || is_courtesy(rest))
}

/// Whether a text is the word YES: an answer to a question, except from somebody who opted out, who so opts in again.
pub fn is_yes(text: &str) -> bool {
    bare(text).eq_ignore_ascii_case("YES")
}

fn bare(text: &str) -> &str {
    text.trim_matches(|c: char| !c.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_stand_alone_in_any_case_and_punctuation() {
        for stop in ["STOP", " stop. ", "\"Unsubscribe\"!", "StopAll", "optout"] {
            assert_eq!(keyword(stop, None), Some(Keyword::Stop), "{stop}");
        }
        assert_eq!(keyword("Start", None), Some(Keyword::Start));
        assert_eq!(keyword("info?", None), Some(Keyword::Help));
        for text in ["stop by at five?", "don't stop", "yes", "", "…", "helpful"] {
            assert_eq!(keyword(text, None), None, "{text}");
        }
    }

    #[test]
    fn twilios_own_reading_wins() {
        assert_eq!(keyword("arrête", Some("STOP")), Some(Keyword::Stop));
        assert_eq!(keyword("hello", Some("")), None);
    }

    #[test]
    fn a_stop_may_be_followed_by_politeness() {
        let is_courtesy = |rest: &str| matches!(bare(rest).to_lowercase().as_str(), "thank you" | "thanks");
        for text in ["Stop. Thank you", "STOP!!\nthanks.", " unsubscribe. Please "] {
            assert!(is_polite_stop(text, is_courtesy), "{text}");
        }
        for text in ["stop by at five?", "Stop. I need help", "Stop it. Thanks", "Thanks. Stop", "Stop", "stop? thanks"]
        {
            assert!(!is_polite_stop(text, is_courtesy), "{text}");
        }
    }

    #[test]
    fn yes_is_told_apart() {
        assert!(is_yes(" Yes! "));
        assert!(!is_yes("yes please"));
    }
}
