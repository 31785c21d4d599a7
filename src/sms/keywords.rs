//! The words with which a person stops and starts texts. Twilio confirms them itself, so the gateway only remembers
//! them. (twilio.com/docs/messaging, "Advanced Opt-Out": the default keywords, whole message, any case.)

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
/// Those that mean nothing else where more words are around them: "Please cancel" may be about an appointment.
const PLAIN_STOP: [&str; 4] = ["STOP", "STOPALL", "UNSUBSCRIBE", "OPTOUT"];
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

/// Whether a text is a stop word with nothing but politeness around it: "Stop. Thank you", "please stop". Twilio, which
/// reads whole messages only, takes no notice of it. `is_courtesy` tells whether the other words are nothing more. A
/// question is none.
pub fn is_polite_stop(text: &str, is_courtesy: impl Fn(&str) -> bool) -> bool {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let is_stop = |word: &&str| PLAIN_STOP.iter().any(|stop| word.eq_ignore_ascii_case(stop));
    let (stops, others): (Vec<&str>, Vec<&str>) = words.partition(is_stop);
    if stops.is_empty() || others.is_empty() || text.contains(['?', '？']) {
        return false;
    }
    let is_please = |word: &&str| ["please", "pls", "plz"].iter().any(|please| word.eq_ignore_ascii_case(please));
    let rest: Vec<&str> = others.into_iter().filter(|word| !is_please(word)).collect();
    rest.is_empty() || is_courtesy(&rest.join(" "))
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
    fn a_stop_may_have_politeness_around_it() {
        let is_courtesy = |rest: &str| matches!(rest.to_lowercase().as_str(), "thank you" | "thanks");
        for text in [
            "Stop. Thank you",
            "STOP!!\nthanks.",
            " unsubscribe. Please ",
            "Stop, thank you",
            "STOP please",
            "Stop - thanks",
            "stop… please",
            "Please stop.",
            "Thanks. Stop",
            "STOP。thanks！",
            "pls stop, thank you",
        ] {
            assert!(is_polite_stop(text, is_courtesy), "{text}");
        }
        for text in [
            "stop by at five?",
            "Please cancel",
            "Stop. I need help",
            "Stop it. Thanks",
            "Please don't stop",
            "Thanks for the stop",
            "Stop",
            "stop? thanks",
            "Thank you, please",
        ] {
            assert!(!is_polite_stop(text, is_courtesy), "{text}");
        }
    }

    #[test]
    fn yes_is_told_apart() {
        assert!(is_yes(" Yes! "));
        assert!(!is_yes("yes please"));
    }
}
