//! How much of an answer is told at once. What is told before the answer is complete cannot be broken into, so it is
//! short; but while it is spoken the next words have to be written.

use super::speech::{DOCUMENT_BYTES, escaped_len, says, speaking_time};
use std::time::Duration;

/// Speech for which most models write the next sentence, if so much is there.
const ENOUGH: Duration = Duration::from_secs(4);

/// The words for the next document.
#[derive(Debug, PartialEq, Eq)]
pub struct NextPart {
    /// How many of the sentences it tells.
    pub sentences: usize,
    /// Their text, in pieces that fit a `Say` each.
    pub says: Vec<String>,
}

/// The next part of an answer, from the sentences that are not told yet: all of them when the answer is `complete`,
/// else so much that the next sentence can be written meanwhile; never more than one document holds.
pub fn next_part(fresh: &[String], complete: bool) -> NextPart {
    let (mut time, mut bytes, mut count) = (Duration::ZERO, 0, 0);
    for sentence in fresh {
        bytes += escaped_len(sentence);
        if count > 0 && (bytes > DOCUMENT_BYTES || (!complete && time >= ENOUGH)) {
            break;
        }
        time += speaking_time(sentence);
        count += 1;
    }
    NextPart { sentences: count, says: says(&fresh[..count]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentences(lengths: &[usize]) -> Vec<String> {
        lengths.iter().map(|length| format!("{}.", "a".repeat(length - 1))).collect()
    }

    #[test]
    fn an_unfinished_answer_is_told_four_seconds_at_a_time() {
        assert_eq!(next_part(&sentences(&[100, 50]), false).sentences, 1);
        assert_eq!(next_part(&sentences(&[10, 10, 50, 20]), false).sentences, 3);
        assert_eq!(next_part(&sentences(&[10, 10]), false).sentences, 2);
    }

    #[test]
    fn a_complete_answer_is_told_to_its_end_so_that_the_caller_can_break_in() {
        assert_eq!(next_part(&sentences(&[100, 100, 100]), true).sentences, 3);
        assert_eq!(next_part(&[], true), NextPart { sentences: 0, says: Vec::new() });
    }

    #[test]
    fn a_document_never_grows_too_large() {
        let many = vec!["&".repeat(299) + "."; 200];
        let part = next_part(&many, true);
        assert!(part.sentences > 10 && part.sentences < 200);
    }
}
