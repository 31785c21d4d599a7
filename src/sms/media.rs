//! The files that come with texts, and what the model is told of them.

use serde::{Deserialize, Serialize};

/// A file that came with a text, as the log of texts has it in a JSON list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// Where Twilio keeps it.
    pub url: String,
    /// Its media type, as Twilio gave it; may be empty.
    pub content_type: String,
    /// Its length in bytes, once it was fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
}

/// The files that came with one text.
#[derive(Debug, Clone)]
pub struct Attached {
    /// The text's row.
    pub text_id: i64,
    /// In their order.
    pub files: Vec<Media>,
}

impl Attached {
    /// Reads the list that is in the text's row.
    pub fn of(text_id: i64, list: &str) -> Self {
        Self { text_id, files: serde_json::from_str(list).unwrap_or_default() }
    }
}

impl Media {
    /// Whether it is a picture in one of the forms that models see.
    pub fn is_visible(&self) -> bool {
        matches!(self.media_type().as_str(), "image/jpeg" | "image/jpg" | "image/png" | "image/gif" | "image/webp")
    }

    /// The type without parameters, in lower case; empty when it is none.
    fn media_type(&self) -> String {
        let bare = self.content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let is_sound = bare.len() <= 64 && bare.bytes().all(|b| b.is_ascii_alphanumeric() || b"/.+-_".contains(&b));
        if is_sound { bare } else { String::new() }
    }

    /// What it is, in words.
    fn described(&self) -> String {
        let media_type = self.media_type();
        let kind = match media_type.split_once('/').unwrap_or_default() {
            ("image", _) => "a picture",
            ("audio", _) => "a sound recording",
            ("video", _) => "a video",
            ("text", "vcard" | "x-vcard" | "directory") => "a contact",
            ("text", "calendar") => "an appointment",
            ("text", _) | ("application", "pdf") => "a document",
            _ => "a file",
        };
        if media_type.is_empty() { kind.to_owned() } else { format!("{kind} ({media_type})") }
    }
}

/// The text, what came with it, and what its sender is called if that is known, as the model is told.
pub fn described(text: &str, media: &[Attached], profile_name: Option<&str>) -> String {
    let files: Vec<_> = media.iter().flat_map(|attached| &attached.files).map(Media::described).collect();
    let described = match (text.trim().is_empty(), files.is_empty()) {
        (true, true) => "(an empty message)".to_owned(),
        (true, false) => format!("(Without words came {}.)", files.join(", ")),
        (false, true) => text.to_owned(),
        (false, false) => format!("{text}\n(With it came {}.)", files.join(", ")),
    };
    match profile_name {
        Some(name) => format!("(The sender's profile name is {name:?}.)\n{described}"),
        None => described,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_told_by_kind_and_type() {
        let of = |types: &[&str]| {
            let file = |of: &&str| Media { url: String::new(), content_type: (*of).to_owned(), size: None };
            [Attached { text_id: 1, files: types.iter().map(file).collect() }]
        };
        assert_eq!(described("Hi", &of(&[]), None), "Hi");
        assert_eq!(
            described(" ", &of(&[]), Some("Ann")),
            "(The sender's profile name is \"Ann\".)\n(an empty message)"
        );
        assert_eq!(
            described("Look!", &of(&["image/JPEG", "application/pdf; name=x", "text/x-vcard"]), None),
            "Look!\n(With it came a picture (image/jpeg), a document (application/pdf), a contact (text/x-vcard).)"
        );
        assert_eq!(
            described("", &of(&["audio/amr", "", "say \"no\""]), None),
            "(Without words came a sound recording (audio/amr), a file, a file.)"
        );
    }
}
