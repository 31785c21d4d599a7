//! Pictures that the model is shown, as Chat Completions takes them: parts of a message with a `data:` URL each.

use super::prompt::Message;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Serialize, Serializer, ser::SerializeMap};
use std::fmt;

/// A picture in a form that models see.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    content_type: &'static str,
    bytes: Bytes,
}

impl Image {
    /// A JPEG, PNG, GIF or WebP, told by its first bytes; `None` when it is none of them.
    pub fn of(bytes: Vec<u8>) -> Option<Self> {
        let content_type = match bytes.as_slice() {
            [0xff, 0xd8, 0xff, ..] => "image/jpeg",
            [0x89, b'P', b'N', b'G', ..] => "image/png",
            [b'G', b'I', b'F', b'8', ..] => "image/gif",
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
            _ => return None,
        };
        Some(Self { content_type, bytes: bytes.into() })
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({}, {} bytes)", self.content_type, self.bytes.len())
    }
}

impl fmt::Display for Image {
    /// As a `data:` URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "data:{};base64,{}", self.content_type, Base64Display::new(&self.bytes, &STANDARD))
    }
}

/// A message with its pictures.
pub(super) struct Shown<'a>(pub &'a Message);

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    Text { text: &'a str },
    ImageUrl { image_url: Link<'a> },
}

#[derive(Serialize)]
struct Link<'a> {
    #[serde(serialize_with = "as_text")]
    url: &'a Image,
}

fn as_text<S: Serializer>(image: &&Image, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(image)
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Message { role, content, images, .. } = self.0;
        let images = images.iter().map(|image| Part::ImageUrl { image_url: Link { url: image } });
        let parts: Vec<_> = std::iter::once(Part::Text { text: content }).chain(images).collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("role", role)?;
        map.serialize_entry("content", &parts)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_picture_is_told_by_its_bytes_and_shown_as_a_data_url() {
        let picture = |bytes: &[u8]| Image::of(bytes.to_vec());
        assert_eq!(picture(b"<svg>"), None);
        assert_eq!(picture(b"RIFF1234WAVE"), None);
        let images = vec![picture(b"\xff\xd8\xff\xe0").unwrap(), picture(b"RIFF1234WEBPx").unwrap()];
        let message = Message { images, ..Message::user("Look") };
        let link = |url| json!({ "type": "image_url", "image_url": { "url": url } });
        let parts = json!([{ "type": "text", "text": "Look" }, link("data:image/jpeg;base64,/9j/4A=="),
            link("data:image/webp;base64,UklGRjEyMzRXRUJQeA==")]);
        assert_eq!(serde_json::to_value(Shown(&message)).unwrap(), json!({ "role": "user", "content": parts }));
    }
}
