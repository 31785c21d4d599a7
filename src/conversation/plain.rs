//! From Markdown as a model streams it to the words of it, character by character: how the text was cut into pieces
//! makes no difference, and no more is held back than may still turn out to be markup.

mod characters;
mod line_start;
mod links;

use characters::{is_blank, stop_after, wants_stop};
pub(super) use characters::{is_closing, is_forbidden, is_speakable};

/// Marks where a block (a paragraph, an item, a heading, a table row) is over. White space in Markdown, so no text
/// holds it.
pub(super) const BLOCK_END: char = '\u{2029}';

/// Takes Markdown as a model streams it and gives the words that can be read aloud, as they come: emphasis, headings,
/// list and code marks, table bars, link targets, pictographs and characters XML forbids are gone, white space is one
/// blank, and a line that ended without punctuation gets a full stop, so that a voice pauses. Markup without its
/// counterpart costs no word.
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

    fn after_bar(&mut self, c: char, out: &mut String) -> bool {
        self.place = Place::Text;
        if c.is_whitespace() {
            self.part(Gap::Cell, '|', out)
        } else {
            self.say('|', out)
        }
        false
    }
}

fn without_block_ends(mut text: String) -> String {
    text.retain(|c| c != BLOCK_END);
    text
}

#[cfg(test)]
mod tests;
