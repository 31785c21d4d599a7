//! What holds for the length of every text: how it is counted, shortened and split.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use switchboard::sms::length::{Limit, MESSAGE_UNITS, numbered, total_segments};
use switchboard::sms::segments::{Encoding, economical, segments};
use unicode_segmentation::UnicodeSegmentation;

/// What must not come apart, besides letters and blanks.
const WHOLE: [&str; 12] = ["👩‍👩‍👧‍👦", "👍🏽", "🇩🇪", "❤\u{fe0f}", "e\u{301}", "नी", "각", "ệ", "€", "[", "\r\n", "😀"];

/// What URLs are made of, and what only looks like it.
const OF_URLS: [&str; 17] =
    ["Ａ", "〇", "ｱ", "é", "a", "b-", ".", "com", "www.", "://", "/", ":", "?", "#", " ", "“", "…"];

/// Texts of words, marks, signs and URLs, of any length up to several messages.
fn texts(longest: usize) -> impl Strategy<Value = String> {
    let url = "(https://|http://|www\\.)[a-z]{1,12}\\.com(/[a-z0-9.?=&_-]{0,30}){0,3}";
    let piece = prop_oneof![
        6 => "[a-z]{1,9} ",
        1 => "[a-z]{1,9}[.!?] ",
        1 => "[一-龥]{1,9}。",
        1 => "[àéß€^“”’–…ç你ж]{1,5}",
        2 => select(&WHOLE[..]).prop_map(str::to_owned),
        1 => url.prop_map(|url| format!(" {url} ")),
    ];
    vec(piece, 1..longest).prop_map(|pieces| pieces.concat())
}

/// Texts of any characters, and of [`OF_URLS`].
fn odd_texts() -> impl Strategy<Value = String> {
    let of_urls = vec(select(&OF_URLS[..]), 0..1500).prop_map(|pieces| pieces.concat());
    prop_oneof!["\\PC{0,2500}", of_urls]
}

/// The segments of a text, by filling them one after the other.
fn counted(text: &str) -> usize {
    let gsm = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
    let extended = "\u{c}^{}\\[~]|€";
    let is_gsm = text.chars().all(|c| gsm.contains(c) || extended.contains(c));
    let units: Vec<usize> =
        text.chars().map(|c| if is_gsm { 1 + usize::from(extended.contains(c)) } else { c.len_utf16() }).collect();
    let (single, part) = if is_gsm { (160, 153) } else { (70, 67) };
    if units.iter().sum::<usize>() <= single {
        return 1;
    }
    let mut filled = vec![0];
    for unit in units {
        match filled.last_mut() {
            Some(last) if *last + unit <= part => *last += unit,
            _ => filled.push(unit),
        }
    }
    filled.len()
}

fn without_blanks(text: &str) -> String {
    text.split_whitespace().collect()
}

/// Whether a text may be cut after its first `end` bytes.
fn is_whole_until(text: &str, end: usize) -> bool {
    let in_url = text.match_indices(char::is_whitespace).fold((false, 0), |(found, start), (at, blank)| {
        let word = &text[start..at];
        let url = ["https://", "http://", "www."].iter().filter_map(|scheme| word.find(scheme)).min();
        (found || url.is_some_and(|url| start + url < end && end < at), at + blank.len())
    });
    let is_seen_whole = end == text.len() || text.grapheme_indices(true).any(|(at, _)| at == end);
    is_seen_whole && !in_url.0
}

proptest! {
    #[test]
    fn segments_are_those_of_a_naive_count(text in prop_oneof![texts(80), "\\PC{0,400}", "[a-z€]{150,170}", "[a-z^]{300,320}"]) {
        prop_assert_eq!(segments(&text).0, counted(&text));
    }

    #[test]
    fn folding_changes_signs_only_and_only_to_save(text in texts(80)) {
        let folded = economical(text.clone());
        prop_assert!(folded == text || counted(&folded) < counted(&text));
        let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
        prop_assert_eq!(letters(&folded), letters(&text));
    }

    #[test]
    fn a_shortened_text_keeps_to_its_limit_and_says_that_it_is_cut(text in texts(700), most in 1..30_usize) {
        for limit in [Limit::Segments(most), Limit::Messages(1), Limit::Messages(2)] {
            let short = limit.shorten(text.clone());
            prop_assert!(limit.holds(&short), "{short}");
            if limit.holds(&text) {
                prop_assert_eq!(&short, &text);
                continue;
            }
            let ellipsis = if Encoding::of(&short) == Encoding::Gsm7 { "..." } else { "…" };
            let kept = short.strip_suffix(ellipsis).expect("an ellipsis").trim_end();
            let text = text.trim();
            prop_assert!(text.starts_with(kept) && is_whole_until(text, kept.len()), "{kept:?} of {text:?}");
            prop_assert!(!kept.is_empty());
        }
    }

    #[test]
    fn a_split_text_is_numbered_whole_and_each_part_can_be_sent(text in texts(900)) {
        let parts = numbered(&text);
        prop_assert_eq!(total_segments(&text), parts.iter().map(|part| counted(part)).sum::<usize>());
        if text.trim().encode_utf16().count() <= MESSAGE_UNITS {
            prop_assert_eq!(parts.len(), 1);
            prop_assert_eq!(parts[0].trim(), text.trim());
            return Ok(());
        }
        let count = parts.len();
        let mut rest = text.trim();
        for (n, part) in parts.iter().enumerate() {
            prop_assert!(Limit::Messages(1).holds(part));
            let piece = part.strip_prefix(&format!("({}/{count}) ", n + 1)).expect("a number");
            prop_assert!(rest.starts_with(piece) && is_whole_until(rest, piece.len()), "{piece:?} of {rest:?}");
            rest = rest[piece.len()..].trim_start();
        }
        prop_assert_eq!(rest, "");
    }

    #[test]
    fn no_text_at_all_is_too_odd_to_be_cut(text in odd_texts(), most in 1..3_usize) {
        prop_assert!(Limit::Segments(most).holds(&Limit::Segments(most).shorten(text.clone())));
        let parts = numbered(&text);
        prop_assert!(parts.iter().all(|part| Limit::Messages(1).holds(part)));
        if let [only] = &parts[..] {
            prop_assert_eq!(only.trim(), text.trim());
        } else {
            let whole: String = parts.iter().map(|part| part.split_once(' ').expect("a number").1).collect();
            prop_assert_eq!(without_blanks(&whole), without_blanks(&text));
        }
    }
}

#[test]
fn a_character_of_a_thousand_marks_is_cut_all_the_same() {
    let odd = format!("a{}", "\u{301}".repeat(3_000));
    assert!(Limit::Segments(1).holds(&Limit::Segments(1).shorten(odd.clone())));
    assert_eq!(numbered(&odd).len(), 2);
    let url = format!("https://example.com/{}", "a".repeat(3_000));
    assert!(Limit::Segments(1).holds(&Limit::Segments(1).shorten(url)));
}
