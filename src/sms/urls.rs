//! The web addresses in a text: one that is cut or changed leads elsewhere.

use std::ops::Range;

/// Where the web addresses in a text are, those without a scheme too (`example.com/path`). Some may overlap.
pub(super) fn urls(text: &str) -> Vec<Range<usize>> {
    let end = |start: usize| text[start..].find(ends_url).map_or(text.len(), |at| start + at);
    let mut urls: Vec<Range<usize>> = text
        .match_indices("://")
        .map(|(at, _)| text[..at].trim_end_matches(|c: char| c.is_ascii_alphanumeric()).len())
        .map(|start| start..end(start))
        .collect();
    let mut from = 0;
    while let Some(start) = text[from..].find(is_of_host).map(|at| from + at) {
        let run = &text[start..];
        let run = &run[..run.find(|c| !is_of_host(c)).unwrap_or(run.len())];
        from = start + run.len();
        if is_host(run.trim_end_matches('.')) {
            let goes_on = text[from..].starts_with(['/', '?', '#', ':']);
            let host_end = start + run.trim_end_matches('.').len();
            from = if goes_on { end(start) } else { from };
            urls.push(start..if goes_on { from } else { host_end });
        }
    }
    urls
}

/// Whether a run of a host's characters is a host's name: labels between dots, and a top-level domain of letters at the
/// end.
fn is_host(run: &str) -> bool {
    let top = run.rsplit_once('.').map_or("", |(_, top)| top);
    top.len() >= 2 && top.bytes().all(|b| b.is_ascii_alphabetic()) && run.split('.').all(|label| !label.is_empty())
}

/// What ends a URL is no part of its host either, though full-width letters are letters.
fn is_of_host(c: char) -> bool {
    (c.is_alphanumeric() || c == '.' || c == '-') && !ends_url(c)
}

/// Whether a character is never part of a URL: white space, quotes, and the marks of Chinese and Japanese.
fn ends_url(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '<' | '>' | '"' | '“' | '”' | '„' | '«' | '»' | '\u{3000}'..='\u{303f}' | '\u{ff00}'..='\u{ffef}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_with_a_scheme_and_without() {
        for (text, expected) in [
            ("See https://example.com/a?b=c#d now", &["https://example.com/a?b=c#d", "example.com/a?b=c#d"][..]),
            ("ours (example.com/a_b/c).", &["example.com/a_b/c)."]),
            ("WWW.Example.COM, or münchen.de.", &["WWW.Example.COM", "münchen.de"]),
            ("at localhost:8080 http://localhost:8080/x", &["http://localhost:8080/x"]),
            ("“https://example.com/it’s”", &["https://example.com/it’s", "example.com/it’s"]),
            ("Ａ.com/b 〇.de:1 ｱ.org?c aＡ.com/b", &[]),
            ("Wait...what? At 3.30, e.g. for 1.5km. Well…no.", &[]),
        ] {
            let found: Vec<&str> = urls(text).into_iter().map(|url| &text[url]).collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}
