//! What characters mean to a voice.

use super::super::speech::needs_no_blank;

/// Whether a voice can make anything of a character: no pictographs, which it would read by their names, and none of
/// the control characters, nor the two that are no characters, most of which XML forbids.
pub(in crate::conversation) fn is_speakable(c: char) -> bool {
    let pictograph = matches!(c,
        '\u{1f000}'..='\u{1faff}' | '\u{2600}'..='\u{27bf}' | '\u{2b00}'..='\u{2bff}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{200d}' | '\u{20e3}' | '\u{e0020}'..='\u{e007f}');
    !pictograph && !is_forbidden(c)
}

/// Control characters that are no white space, and the two that are no characters.
pub(in crate::conversation) fn is_forbidden(c: char) -> bool {
    c.is_control() && !c.is_whitespace() || matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// Quotes and brackets that may close what a full stop has ended.
pub(in crate::conversation) fn is_closing(c: char) -> bool {
    matches!(
        c,
        ')' | ']' | '}' | '"' | '\'' | '”' | '’' | '“' | '»' | '«' | '›' | '‹' | '」' | '』' | '）' | '】' | '》'
    )
}

/// Whether a voice would not pause after this character.
pub(super) fn wants_stop(last: char) -> bool {
    !matches!(
        last,
        '.' | '!'
            | '?'
            | '…'
            | ':'
            | ';'
            | ','
            | '-'
            | '–'
            | '—'
            | '。'
            | '！'
            | '？'
            | '：'
            | '；'
            | '，'
            | '、'
            | '｡'
            | '।'
            | '॥'
            | '؟'
            | '۔'
            | '،'
            | '؛'
    )
}

pub(super) fn stop_after(last: char) -> char {
    if needs_no_blank(last) { '。' } else { '.' }
}

pub(super) fn is_blank(c: Option<char>) -> bool {
    c.is_none_or(char::is_whitespace)
}
