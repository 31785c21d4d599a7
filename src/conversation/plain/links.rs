//! Links and images, of which only the text is read.

use super::{Place, Plain};

/// The longest text and target of a link that are waited for; anything longer is read as it stands.
const LINK_TEXT_BYTES: usize = 600;
const LINK_BYTES: usize = 2_000;

impl Plain {
    pub(super) fn after_exclamation(&mut self, c: char, out: &mut String) -> bool {
        if c == '[' {
            self.place = Place::LinkText;
            return self.hold(c);
        }
        self.release_link(out);
        false
    }

    pub(super) fn in_link(&mut self, c: char, out: &mut String) -> bool {
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

    pub(super) fn release_link(&mut self, out: &mut String) {
        self.no_links = true;
        self.release(out);
        self.no_links = false;
    }
}
