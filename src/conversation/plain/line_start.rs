//! The marks that a line may begin with: headings, quotes, items, fences, rules and tables.

use super::{Place, Plain};

/// The longest mark at a line's start that is waited for: a rule, the bars below a table's head, a fence with its
/// language.
const LINE_MARK_BYTES: usize = 200;

impl Plain {
    /// Whether `c` was taken as part of the mark at the line's start.
    pub(super) fn at_line_start(&mut self, c: char, out: &mut String) -> bool {
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
