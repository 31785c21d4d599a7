//! The pictures that came with a text, fetched for a model that sees. One that cannot be had is only told of.

use super::reply::{Due, Replier};
use crate::llm::Image;
use crate::sms::media::{Attached, Media};
use crate::twilio::rest::Rest;
use futures_util::future::join_all;
use std::time::Duration;
use tokio::time::timeout;
use tracing::{debug, warn};

/// The most pictures of one text, or of texts that are answered together, that the model is shown.
const MOST: usize = 4;
/// How long fetching them may take, which is time of the reply's.
const FETCHING: Duration = Duration::from_secs(5);

impl Replier {
    /// The pictures of a text that the model can see. Their sizes are written down.
    pub(super) async fn pictures(&self, due: &Due) -> Vec<Image> {
        let account = self.accounts.of(due.account, &due.to);
        let Some(rest) = account.and_then(|account| account.rest.as_ref()) else { return Vec::new() };
        let visible = visible(&due.media).take(MOST);
        let fetched =
            join_all(visible.map(|(text_id, media)| async move { (text_id, media, fetch(rest, media).await) }));
        let mut images = Vec::new();
        let mut known = due.media.clone();
        for (text_id, media, bytes) in fetched.await {
            let Some(bytes) = bytes else { continue };
            let files = known.iter_mut().filter(|attached| attached.text_id == text_id).flat_map(|of| &mut of.files);
            files.filter(|file| file.url == media.url).for_each(|file| file.size = Some(bytes.len()));
            images.extend(Image::of(bytes));
        }
        for (before, now) in due.media.iter().zip(&known).filter(|(before, now)| before.files != now.files) {
            let list = serde_json::to_string(&now.files).unwrap_or_default();
            if let Err(error) = self.db.note_media(before.text_id, list).await {
                warn!(message.id = before.text_id, %error, "The sizes of a text's files could not be written down");
            }
        }
        images
    }
}

/// The files that models see, each with its text.
pub(super) fn visible(media: &[Attached]) -> impl Iterator<Item = (i64, &Media)> {
    let files = media.iter().flat_map(|of| of.files.iter().map(|file| (of.text_id, file)));
    files.filter(|(_, file)| file.is_visible())
}

async fn fetch(rest: &Rest, media: &Media) -> Option<Vec<u8>> {
    match timeout(FETCHING, rest.fetch_media(&media.url)).await {
        Ok(Ok(bytes)) => Some(bytes),
        Ok(Err(error)) => {
            debug!(%error, "A picture cannot be fetched");
            None
        }
        Err(_) => {
            debug!("A picture cannot be fetched in time");
            None
        }
    }
}
