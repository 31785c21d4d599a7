//! stub
use crate::twilio::voices::Language;
use std::time::Duration;
/// stub
pub struct Sentences {
    held: String,
}
impl Sentences {
    /// stub
    pub fn new(_language: &Language) -> Self {
        Self { held: String::new() }
    }
    /// stub
    pub fn push(&mut self, piece: &str) -> Vec<String> {
        self.held.push_str(piece);
        let mut out = Vec::new();
        while let Some(at) = self.held.find(". ") {
            let rest = self.held.split_off(at + 2);
            out.push(std::mem::replace(&mut self.held, rest).trim().to_owned());
        }
        out
    }
    /// stub
    pub fn finish(&mut self) -> Vec<String> {
        let rest = std::mem::take(&mut self.held).trim().to_owned();
        if rest.is_empty() { Vec::new() } else { vec![rest] }
    }
}
/// stub
pub fn speaking_time(text: &str) -> Duration {
    Duration::from_secs_f64(text.chars().count() as f64 / 15.0)
}
/// stub
pub fn says(sentences: &[impl AsRef<str>]) -> Vec<String> {
    super::speech::spoken(&sentences.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" "))
}
