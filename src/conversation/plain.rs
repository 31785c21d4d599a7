//! From Markdown as a model streams it to the words of it, character by character: how the text was cut into pieces makes no
//! difference, and no more is held back than may still turn out to be markup.

use super::speech::is_syllabic;

/// Marks where a block (a paragraph, an item, a heading, a table row) is over. White space in Markdown, so no text holds it.
pub(super) const BLOCK_END: char = '\u{2029}';
/// The longest mark at a line's start that is waited for: a rule, the bars below a table's head, a fence with its language.
const LINE_MARK_BYTES: usize = 200;
/// The longest text and target of a link that are waited for; anything longer is read as it stands.
const LINK_TEXT_BYTES: usize = 600;
const LINK_BYTES: usize = 2_000;

/// Takes Markdown as a model streams it and gives the words that can be read aloud, as they come: emphasis, headings, list and
/// code marks, table bars, link targets, pictographs and characters XML forbids are gone, white space is one blank, and a line
/// that ended without punctuation gets a full stop, so that a voice pauses. Markup without its counterpart costs no word.
#[derive(Debug, Default)]
pub struct Plain {
    place: Place,
    /// What may still be markup: read, but not given out.
    held: String,
    /// The character before `held`, as the model wrote it; a word's and a line's bounds tell emphasis from text.
    before: Option<char>,
    /// Whether emphasis with `*` and with `_` is open.
    emphasis: [bool; 2],
    /// The backticks that opened a code span of this line; 0 outside.
    code_span: usize,
    /// The character of the fence around a code block.
    fence: Option<char>,
    /// Whether this line is a table row, and whether it is a block of its own (a heading, a row).
    row: bool,
    own_block: bool,
    /// Brackets of a link that proved to be none are text.
    no_links: bool,
    gap: Gap,
    /// The last character given out, closing quotes and brackets apart.
    last: Option<char>,
    /// Whether the blank of `gap`, and the mark of its block's end, have been given out already.
    blank_given: bool,
    end_given: bool,
}

/// What the next character may belong to.
#[derive(Debug, Default, Clone, Copy)]
enum Place {
    #[default]
    LineStart,
    Text,
    /// A run of `*`, `_`, `~` or backticks.
    Run,
    Backslash,
    /// `!`, which may begin an image.
    Exclamation,
    /// A bar that may part two cells.
    Bar,
    LinkText,
    /// After `]`.
    LinkTextEnd,
    LinkTarget {
        parentheses: u32,
        title: bool,
    },
}

/// What stands between the last word and the next one.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    #[default]
    Nothing,
    Blank,
    Cell,
    Line,
    Block,
}

impl Plain {
    /// The words that are certain after another piece of the text.
    pub fn push(&mut self, piece: &str) -> String {
        without_block_ends(self.push_blocks(piece))
    }

    /// What was held back, at the end of the text. Afterwards another text may begin.
    pub fn finish(&mut self) -> String {
        without_block_ends(self.finish_blocks())
    }

    /// As [`Plain::push`], with a [`BLOCK_END`] wherever a block is over.
    pub(super) fn push_blocks(&mut self, piece: &str) -> String {
        let mut out = String::with_capacity(piece.len());
        piece.chars().filter(|c| is_speakable(*c)).for_each(|c| self.take(c, &mut out));
        out
    }

    /// As [`Plain::finish`], with a [`BLOCK_END`] wherever a block is over.
    pub(super) fn finish_blocks(&mut self) -> String {
        let mut out = String::new();
        match self.place {
            // The number of an item without text, and a fence's language without code, are all there is.
            Place::LineStart if self.held.contains(char::is_alphanumeric) => self.release(&mut out),
            Place::Exclamation | Place::LinkText | Place::LinkTextEnd | Place::LinkTarget { .. } => {
                self.release_link(&mut out);
            }
            _ => {}
        }
        self.take('\n', &mut out);
        *self = Self::default();
        // The end parts the last word from nothing.
        out.truncate(out.trim_end().len());
        out
    }

    fn take(&mut self, c: char, out: &mut String) {
        let taken = match self.place {
            Place::LineStart => self.at_line_start(c, out),
            Place::Text => false,
            Place::Run if self.held.starts_with(c) => self.hold(c),
            Place::Run => self.end_run(c, out),
            Place::Backslash => self.after_backslash(c, out),
            Place::Exclamation => self.after_exclamation(c, out),
            Place::Bar => self.after_bar(c, out),
            Place::LinkText | Place::LinkTextEnd | Place::LinkTarget { .. } => self.in_link(c, out),
        };
        match self.place {
            _ if taken => {}
            Place::Text => self.text(c, out),
            // What was held proved to be something else, which may go on with this character.
            _ => self.take(c, out),
        }
    }

    fn hold(&mut self, c: char) -> bool {
        self.held.push(c);
        true
    }

    fn wait(&mut self, place: Place, c: char) {
        self.place = place;
        self.hold(c);
    }

    /// Reads what was held as text.
    fn release(&mut self, out: &mut String) {
        self.place = Place::Text;
        std::mem::take(&mut self.held).chars().for_each(|c| self.take(c, out));
    }

    fn release_link(&mut self, out: &mut String) {
        self.no_links = true;
        self.release(out);
        self.no_links = false;
    }

    fn text(&mut self, c: char, out: &mut String) {
        let in_code = self.fence.is_some() || self.code_span > 0;
        match c {
            '\n' => self.end_line(out),
            _ if c.is_whitespace() => self.part(Gap::Blank, c, out),
            '`' if self.fence.is_some() => self.before = Some(c),
            '`' => self.wait(Place::Run, c),
            _ if in_code => self.say(c, out),
            '*' | '_' | '~' => self.wait(Place::Run, c),
            '\\' => self.place = Place::Backslash,
            '[' if !self.no_links => self.wait(Place::LinkText, c),
            '!' if !self.no_links && is_blank(self.before) => self.wait(Place::Exclamation, c),
            '|' if self.row => self.part(Gap::Cell, c, out),
            '|' if is_blank(self.before) => self.place = Place::Bar,
            _ => self.say(c, out),
        }
    }

    /// Gives out a character, and before it what parts it from the word before.
    fn say(&mut self, c: char, out: &mut String) {
        let gap = match std::mem::take(&mut self.gap) {
            // A paragraph may be broken anywhere, but then it goes on in lower case.
            Gap::Line if c.is_lowercase() => Gap::Blank,
            Gap::Line => Gap::Block,
            gap => gap,
        };
        if let (Some(last), true) = (self.last, gap > Gap::Nothing) {
            match gap {
                Gap::Block if wants_stop(last) => out.push(stop_after(last)),
                Gap::Cell if wants_stop(last) => out.push(','),
                _ => {}
            }
            if !self.blank_given {
                out.push(' ');
            }
            if gap == Gap::Block && !self.end_given {
                out.push(BLOCK_END);
            }
        }
        (self.blank_given, self.end_given) = (false, false);
        out.push(c);
        self.before = Some(c);
        if self.last.is_none() || !is_closing(c) {
            self.last = Some(c);
        }
    }

    /// Parts the last word from the next one, at once if no full stop may have to come between.
    fn part(&mut self, gap: Gap, c: char, out: &mut String) {
        self.before = Some(c);
        self.gap = self.gap.max(gap);
        if self.last.is_some_and(|last| !wants_stop(last)) {
            if !std::mem::replace(&mut self.blank_given, true) {
                out.push(' ');
            }
            if self.gap == Gap::Block && !std::mem::replace(&mut self.end_given, true) {
                out.push(BLOCK_END);
            }
        }
    }

    fn end_line(&mut self, out: &mut String) {
        self.part(if self.own_block { Gap::Block } else { Gap::Line }, '\n', out);
        (self.row, self.own_block, self.code_span) = (false, false, 0);
        self.place = Place::LineStart;
    }

    fn begin_block(&mut self, out: &mut String) {
        self.part(Gap::Block, '\n', out);
        self.emphasis = [false; 2];
    }

    /// Whether `c` was taken as part of the mark at the line's start.
    fn at_line_start(&mut self, c: char, out: &mut String) -> bool {
        if self.held.is_empty() {
            if c == '\n' {
                self.begin_block(out);
            }
            if c.is_whitespace() {
                return true;
            }
        }
        if c != '\n' && self.held.len() < LINE_MARK_BYTES && may_be_line_mark(&self.held, c, self.fence) {
            return self.hold(c);
        }
        self.end_line_mark(c, out)
    }

    /// Acts on the mark at the line's start, after which comes `c`.
    fn end_line_mark(&mut self, c: char, out: &mut String) -> bool {
        let (blank, line_end) = (c.is_whitespace(), c == '\n');
        match self.held.chars().next() {
            Some('#') if blank && self.held.len() <= 6 => {
                self.begin_block(out);
                self.held.clear();
                self.own_block = true;
                self.place = Place::Text;
            }
            Some('>') if blank || c == '>' => self.held.clear(),
            Some('0'..='9') if blank && !line_end && self.held.ends_with(['.', ')']) => {
                self.begin_block(out);
                let number = std::mem::take(&mut self.held);
                number.chars().filter(char::is_ascii_digit).for_each(|digit| self.say(digit, out));
                self.say(':', out);
                self.place = Place::Text;
            }
            Some(fence @ ('`' | '~')) if line_end && self.held.len() >= 3 => {
                self.begin_block(out);
                self.held.clear();
                self.fence = if self.fence.is_none() { Some(fence) } else { None };
                return true;
            }
            // A rule, the bars below a table's head, an item without text.
            Some('-' | '*' | '_' | '=' | '+' | '•' | '|') if line_end => {
                self.begin_block(out);
                self.held.clear();
                return true;
            }
            Some('|') => {
                self.begin_block(out);
                (self.row, self.own_block) = (true, true);
                self.release(out);
            }
            Some(_) => {
                let mut rest = self.held.as_str();
                while let Some(item) =
                    rest.strip_prefix(['-', '*', '+', '•']).filter(|item| item.starts_with([' ', '\t']))
                {
                    rest = item.trim_start();
                }
                if rest.len() < self.held.len() {
                    self.held = rest.to_owned();
                    self.begin_block(out);
                }
                self.release(out);
            }
            None => self.place = Place::Text,
        }
        false
    }

    /// Drops the run that was held if it is markup, and gives it out if it is text.
    fn end_run(&mut self, after: char, out: &mut String) -> bool {
        let run = std::mem::take(&mut self.held);
        let mark = run.chars().next().unwrap_or('*');
        let is_text = match mark {
            '`' => {
                self.code_span = match self.code_span {
                    0 => run.len(),
                    open if open == run.len() => 0,
                    open => open,
                };
                false
            }
            '~' => run.len() == 1,
            _ => self.is_no_emphasis(mark, run.len(), after),
        };
        if is_text {
            run.chars().for_each(|c| self.say(c, out));
        }
        self.before = Some(mark);
        self.place = Place::Text;
        false
    }

    /// Whether a run of `*` or `_` is text: `2 * 3`, `2*3`, `a_b`.
    fn is_no_emphasis(&mut self, mark: char, length: usize, after: char) -> bool {
        let open = &mut self.emphasis[usize::from(mark == '_')];
        let Some(before) = self.before.filter(|before| !before.is_whitespace()) else {
            *open = !after.is_whitespace();
            return !*open && length <= 2;
        };
        if after.is_whitespace() {
            *open = false;
            return false;
        }
        let (word_before, word_after) = (before.is_alphanumeric(), after.is_alphanumeric());
        let ascii = before.is_ascii_alphanumeric() && after.is_ascii_alphanumeric();
        let is_text = match mark {
            '_' => word_before && (word_after || !*open),
            _ if before.is_ascii_digit() && after.is_ascii_digit() => true,
            _ => ascii && !*open && length == 1,
        };
        if !is_text {
            *open = !(word_before && *open) && word_after;
        }
        is_text
    }

    fn after_backslash(&mut self, c: char, out: &mut String) -> bool {
        self.place = Place::Text;
        self.say(if c.is_ascii_punctuation() { c } else { '\\' }, out);
        c.is_ascii_punctuation()
    }

    fn after_exclamation(&mut self, c: char, out: &mut String) -> bool {
        if c == '[' {
            self.place = Place::LinkText;
            return self.hold(c);
        }
        self.release_link(out);
        false
    }

    fn after_bar(&mut self, c: char, out: &mut String) -> bool {
        self.place = Place::Text;
        if c.is_whitespace() {
            self.part(Gap::Cell, '|', out)
        } else {
            self.say('|', out)
        }
        false
    }

    fn in_link(&mut self, c: char, out: &mut String) -> bool {
        let goes_on = match &mut self.place {
            Place::LinkText => c != '[' && self.held.len() < LINK_TEXT_BYTES,
            Place::LinkTextEnd => c == '(',
            Place::LinkTarget { parentheses, title } => {
                match c {
                    '(' => *parentheses += 1,
                    ')' => *parentheses -= 1,
                    _ => {}
                }
                // After a blank comes a title in quotes, or it is no target.
                *title |= self.held.ends_with(' ') && matches!(c, '"' | '\'');
                (*title || c == ')' || !self.held.ends_with(' ')) && self.held.len() < LINK_BYTES
            }
            _ => false,
        };
        if !goes_on || c == '\n' {
            self.release_link(out);
            return false;
        }
        self.hold(c);
        match self.place {
            Place::LinkText if c == ']' => self.place = Place::LinkTextEnd,
            Place::LinkTextEnd => self.place = Place::LinkTarget { parentheses: 1, title: false },
            Place::LinkTarget { parentheses: 0, .. } => {
                let end = self.held.find("](").unwrap_or(self.held.len());
                self.held.truncate(end);
                self.held = self.held.trim_start_matches(['!', '[']).to_owned();
                self.release_link(out);
                match self.place {
                    Place::Run => drop(self.end_run(')', out)),
                    Place::Backslash => self.say('\\', out),
                    _ => {}
                }
                self.place = Place::Text;
                self.before = Some(')');
            }
            _ => {}
        }
        true
    }
}

fn without_block_ends(mut text: String) -> String {
    text.retain(|c| c != BLOCK_END);
    text
}

/// Whether `held` and then `c` may be, or begin, the mark of a line.
fn may_be_line_mark(held: &str, c: char, fence: Option<char>) -> bool {
    let first = held.chars().next().unwrap_or(c);
    if let Some(fence) = fence {
        // In a code block only its end is markup.
        return first == fence
            && (c == fence && held.trim_end_matches(fence).is_empty() || c == ' ' && held.len() >= 3);
    }
    match first {
        '#' => c == '#',
        '>' => held.is_empty(),
        '0'..='9' => !held.ends_with(['.', ')']) && held.len() < 10 && matches!(c, '0'..='9' | '.' | ')'),
        '`' | '~' if held.len() < 3 => c == first,
        '`' => c != '`' || held.ends_with('`'),
        '~' => true,
        '-' | '*' | '_' | '=' | '+' | '•' | '|' => {
            matches!(c, '-' | '*' | '_' | '=' | '+' | '•' | '|' | ':' | ' ' | '\t')
        }
        _ => false,
    }
}

/// Whether a voice can make anything of a character: no pictographs, which it would read by their names, and none of the
/// control characters, nor the two that are no characters, most of which XML forbids.
pub(super) fn is_speakable(c: char) -> bool {
    let pictograph = matches!(c,
        '\u{1f000}'..='\u{1faff}' | '\u{2600}'..='\u{27bf}' | '\u{2b00}'..='\u{2bff}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{200d}' | '\u{20e3}' | '\u{e0020}'..='\u{e007f}');
    !pictograph && !is_forbidden(c)
}

/// Control characters that are no white space, and the two that are no characters.
pub(super) fn is_forbidden(c: char) -> bool {
    c.is_control() && !c.is_whitespace() || matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// Quotes and brackets that may close what a full stop has ended.
pub(super) fn is_closing(c: char) -> bool {
    matches!(
        c,
        ')' | ']' | '}' | '"' | '\'' | '”' | '’' | '“' | '»' | '«' | '›' | '‹' | '」' | '』' | '）' | '】' | '》'
    )
}

/// Whether a voice would not pause after this character.
fn wants_stop(last: char) -> bool {
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

fn stop_after(last: char) -> char {
    let hangul = matches!(last, '\u{1100}'..='\u{11ff}' | '\u{ac00}'..='\u{d7ff}');
    if is_syllabic(last) && !hangul { '。' } else { '.' }
}

fn is_blank(c: Option<char>) -> bool {
    c.is_none_or(char::is_whitespace)
}

#[cfg(test)]
mod tests;
