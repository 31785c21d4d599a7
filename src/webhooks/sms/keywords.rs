//! Texts that are keywords: what they ask for is done, and confirmed where Twilio does not.

use super::{Reply, is_in_loop, is_opted_out, stored_reply, told_before};
use crate::app::App;
use crate::conversation::phrases::Phrases;
use crate::db::DbError;
use crate::db::messages::reason;
use crate::db::new_message::{NewMessage, Unasked};
use crate::sms::keywords::{Keyword, is_polite_stop, is_yes, keyword};
use crate::twilio::address::Address;
use crate::twilio::voices;
use crate::webhooks::requests::IncomingText;
use tokio::time::Instant;
use tracing::info;

/// A keyword, and who tells the sender that it was understood.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    keyword: Keyword,
    /// Whether we do; else Twilio does.
    confirms: bool,
}

/// The keyword that a text between these addresses is. YES counts as START only for those who opted out, and never on
/// toll-free numbers, whose carriers do not take it for one; for all others it is an answer.
pub(super) async fn keyword_of(
    app: &App,
    text: &IncomingText,
    (from, to): (&Address<'_>, &Address<'_>),
    words: &Phrases,
) -> Result<Option<Asked>, DbError> {
    let is_read = !from.is_nobody();
    // Twilio, when it has read the text itself, has answered it too.
    let confirms = is_read && app.config.sms.keyword_replies && text.opt_out_type.is_none();
    if let Some(keyword) = keyword(&text.text, text.opt_out_type.as_deref()) {
        return Ok(Some(Asked { keyword, confirms }));
    }
    let english = app.phrases.of(&voices::languages()[0]);
    if is_polite_stop(&text.text, |rest| words.is_courtesy(rest) || english.is_courtesy(rest)) {
        return Ok(Some(Asked { keyword: Keyword::Stop, confirms: is_read }));
    }
    let is_start = is_yes(&text.text) && !to.is_toll_free() && is_opted_out(app, text).await?;
    Ok(is_start.then_some(Asked { keyword: Keyword::Start, confirms }))
}

/// Does what a keyword asks for. A confirmation goes out with this answer, and with that to a redelivery.
pub(super) async fn answer_keyword(
    app: &App,
    text: &IncomingText,
    new: NewMessage,
    Asked { keyword, confirms }: Asked,
    words: &Phrases,
    deadline: Instant,
) -> Result<Option<Reply>, DbError> {
    info!(message.sid = text.message_sid, ?keyword, "A text is a keyword");
    // Two machines may go on confirming each other's keywords; a STOP is confirmed once in any case.
    let is_confirmed = confirms && (keyword == Keyword::Stop || !is_in_loop(app, &new).await?);
    match keyword {
        Keyword::Stop => {
            let our_numbers = app.config.twilio.phone_numbers.clone();
            app.db.log_stop(new, our_numbers, is_confirmed.then(|| words.text_stopped.clone())).await?;
        }
        Keyword::Start => app.db.log_start(new, is_confirmed.then(|| words.text_started.clone())).await?,
        Keyword::Help => {
            let is_answered = is_confirmed && !is_opted_out(app, text).await?;
            let ignored = Unasked::Ignored(reason::KEYWORD);
            let unasked = if is_answered { Unasked::Confirmed(words.text_help.clone()) } else { ignored };
            app.db.log_message(new, unasked).await?;
        }
    }
    match keyword {
        _ if !confirms => Ok(None),
        // The only text that somebody who opted out is still sent.
        Keyword::Stop => told_before(app, text, deadline).await,
        Keyword::Start | Keyword::Help => stored_reply(app, text, deadline).await,
    }
}
