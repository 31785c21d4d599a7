//! The `.env` file: `NAME=value` lines.
//!
//! An own reader, because the usual crate takes the quotes out of `CORS_ORIGINS=["*"]`, replaces `$` inside passwords
//! and prints the faulty line, which may hold a secret. Nothing is substituted here.
//!
//! - Blank lines and lines that start with `#` are passed over; `export NAME=value` is taken too.
//! - A bare value ends at the line's end or before a `#` that follows a space.
//! - `'…'` is taken as it stands; in `"…"` the pairs `\n`, `\t`, `\r`, `\"` and `\\` are resolved. Both may span lines.
//! - Of two lines with the same name the later one counts.

use std::collections::HashMap;

use super::env::Fault;

/// The variables of a `.env` file and the lines that could not be read.
pub(super) fn parse(text: &str) -> (HashMap<String, String>, Vec<Fault>) {
    let (mut variables, mut faults) = (HashMap::new(), Vec::new());
    let mut rest = text.trim_start_matches('\u{FEFF}');
    let mut line_number = 1;
    while !rest.is_empty() {
        let (outcome, after) = entry(rest);
        match outcome {
            Ok(Some((name, value))) => drop(variables.insert(name.to_owned(), value)),
            Ok(None) => {}
            Err(problem) => {
                faults.push(Fault { variable: format!(".env line {line_number}"), problem: problem.to_owned() })
            }
        }
        line_number += rest[..rest.len() - after.len()].matches('\n').count();
        rest = after;
    }
    (variables, faults)
}

type Entry<'a> = Result<Option<(&'a str, String)>, &'static str>;

/// Reads one entry off the start of `text`; the second part is what follows it.
fn entry(text: &str) -> (Entry<'_>, &str) {
    let (line, next_line) = split_line(text);
    let content = line.trim();
    if content.is_empty() || content.starts_with('#') {
        return (Ok(None), next_line);
    }
    let Some((name, _)) = content.split_once('=') else {
        return (Err("must be NAME=value, a # comment or blank"), next_line);
    };
    let name = name.strip_prefix("export ").unwrap_or(name).trim();
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return (Err("the name before = must consist of letters, digits and _"), next_line);
    }
    // A quoted value may run over the line's end, so it is looked for in the whole text.
    let raw = text.split_once('=').map_or("", |(_, raw)| raw);
    let start = raw.trim_start_matches([' ', '\t']);
    let Some(quote) = start.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        return (Ok(Some((name, bare_value(split_line(raw).0)))), next_line);
    };
    let Some((value, after)) = quoted_value(&start[1..], quote) else {
        return (Err("the quote that opens the value is never closed"), next_line);
    };
    let (tail, next_line) = split_line(after);
    if !tail.trim().is_empty() && !tail.trim_start().starts_with('#') {
        return (Err("only a # comment may follow the closing quote"), next_line);
    }
    (Ok(Some((name, value))), next_line)
}

fn split_line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}

fn bare_value(raw: &str) -> String {
    let comment = raw.match_indices('#').map(|(at, _)| at).find(|at| raw[..*at].ends_with([' ', '\t']));
    raw[..comment.unwrap_or(raw.len())].trim().to_owned()
}

/// The value up to the closing quote, and what follows that quote; `None` when there is no closing quote.
fn quoted_value(text: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            c if c == quote => return Some((value, &text[at + 1..])),
            '\\' if quote == '"' => match characters.next()?.1 {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                'r' => value.push('\r'),
                c @ ('"' | '\\') => value.push(c),
                c => value.extend(['\\', c]),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> String {
        let (mut variables, faults) = parse(text);
        assert_eq!(faults, [], "{text}");
        variables.remove("A").unwrap()
    }

    #[test]
    fn values_are_taken_as_written() {
        for (text, expected) in [
            ("A=1", "1"),
            ("export A = 1 \r\n", "1"),
            ("\u{FEFF}# first\n\nA=1", "1"),
            (r#"A=["*"]"#, r#"["*"]"#),
            ("A=p$s#word # a comment", "p$s#word"),
            ("A= # nothing", ""),
            ("A=", ""),
            ("A=x=y", "x=y"),
            ("A=two words", "two words"),
            (r"A='as \n it # stands' # comment", r"as \n it # stands"),
            (r#"A="line\nbreak \"quoted\" \\ \d""#, "line\nbreak \"quoted\" \\ \\d"),
            ("A=\"two\nlines\"\nB=2", "two\nlines"),
            ("A=1\nA=2", "2"),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn faults_name_the_line_and_never_its_content() {
        let (variables, faults) = parse("A=\"1\n2\"\nsecret word\nB C=1\nD=\"open\nE='x' secret\nF=6");
        let lines: Vec<_> = faults.iter().map(|fault| fault.variable.as_str()).collect();
        assert_eq!(lines, [".env line 3", ".env line 4", ".env line 5", ".env line 6"]);
        assert!(!format!("{faults:?}").contains("secret"));
        assert_eq!(variables["A"], "1\n2");
        assert_eq!(variables["F"], "6");
    }
}
