//! What becomes of a message that a caller left: it is fetched from Twilio, its words are written down, and its owner
//! is told by a text. A message whose words cannot be had is told without them.

use super::claim::Setback;
use crate::clock::{Clock, Micros, SECOND};
use crate::conversation::party::{Directory, Person};
use crate::conversation::phrases::PhraseBook;
use crate::db::Db;
use crate::db::jobs::Job;
use crate::db::outbound::OutboundText;
use crate::db::voicemails::{Voicemail, VoicemailCall};
use crate::llm::Llm;
use crate::quiet_hours::QuietHours;
use crate::sms::length::Limit;
use crate::twilio::accounts::Accounts;
use crate::twilio::address::Address;
use crate::twilio::rest::RestError;
use crate::twilio::voices;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tracing::{info, warn};

/// After this long a message is given up whose call is still unknown, or that the database kept failing.
pub(super) const GIVE_UP_AFTER: Micros = 24 * 3600 * SECOND;
/// The owner waits this long for the words; then the notice goes out without them.
const WORDS_AWAITED: Micros = 900 * SECOND;
/// How long writing down one message may take, all retries included.
const TRANSCRIBING: Duration = Duration::from_secs(120);

/// Brings voicemails to their owners. Cheap to clone.
#[derive(Clone)]
pub struct Voicemails {
    /// Where messages, calls and jobs are.
    pub db: Db,
    /// The time.
    pub clock: Clock,
    /// Who owns which number.
    pub directory: Directory,
    /// The words of the notice.
    pub phrases: Arc<PhraseBook>,
    /// Who writes down what was said.
    pub llm: Arc<Llm>,
    /// Where recordings are fetched, and notices come from.
    pub accounts: Accounts,
    /// When a notice waits.
    pub quiet_hours: Option<QuietHours>,
    /// Our own numbers, the first of which a notice comes from when the called one is not ours to send from.
    pub own_numbers: Arc<[String]>,
    /// Places for recordings, for they take memory.
    pub places: Arc<Semaphore>,
}

impl Voicemails {
    pub(super) async fn go_on(&self, job: &Job) -> Result<(), Setback> {
        let Some(voicemail) = self.db.voicemail(job.subject_id).await? else {
            return Ok(self.db.drop_job(job).await?);
        };
        let Some(call) = self.db.voicemail_call(&voicemail.call_sid).await? else {
            return Err(Setback::Later("it is not known yet whose call it was".to_owned(), None));
        };
        let Some(person) = self.directory.person(call.user_id).await? else {
            return Ok(self.db.drop_job(job).await?);
        };
        let transcript = match self.words(&voicemail, &call, &person).await {
            Err(setback @ Setback::Later(..)) if self.clock.now() - voicemail.created_at < WORDS_AWAITED => {
                return Err(setback);
            }
            Err(hopeless) => {
                let (reason, _) = hopeless.reason();
                warn!(call.sid = voicemail.call_sid, reason, "The words of a voicemail cannot be had");
                None
            }
            Ok(words) => words,
        };
        let notice = self.notice(&voicemail, &call, &person, transcript.as_deref());
        let (is_transcribed, is_told) = (transcript.is_some(), notice.is_some());
        if self.db.end_voicemail(job, person.user_id, transcript, notice).await? {
            info!(call.sid = voicemail.call_sid, is_transcribed, is_told, "Took care of a voicemail");
        }
        Ok(())
    }

    /// The words of a message; `None` where nothing is configured that could write them down.
    async fn words(
        &self,
        voicemail: &Voicemail,
        call: &VoicemailCall,
        person: &Person,
    ) -> Result<Option<String>, Setback> {
        let account = self.accounts.claimed(call.account());
        let Some(rest) = account.rest.as_ref().filter(|_| self.llm.can_transcribe()) else { return Ok(None) };
        let _place = self.places.acquire().await.ok();
        let recording = rest.fetch_recording(&voicemail.recording_url).await.map_err(|error| match error {
            // Twilio reports a recording some moments before it gives it out.
            RestError::Refused { status: 404, .. } => Setback::Later(error.to_string(), None),
            other => other.into(),
        })?;
        let switched = call.language.as_deref().and_then(voices::language);
        // The first part of a tag is the language in ISO 639-1.
        let language = switched.unwrap_or(person.language).tag.split('-').next();
        Ok(Some(self.llm.transcribe(recording, "message.mp3", language, TRANSCRIBING).await?))
    }

    /// The text that tells the owner; `None` when nobody is to be told, or nobody but the caller.
    fn notice(
        &self,
        voicemail: &Voicemail,
        call: &VoicemailCall,
        person: &Person,
        transcript: Option<&str>,
    ) -> Option<OutboundText> {
        if !person.notifications_enabled {
            return None;
        }
        let is_outbound = call.direction.starts_with("outbound");
        let (caller, called) =
            if is_outbound { (&call.to_number, &call.from_number) } else { (&call.from_number, &call.to_number) };
        let (caller, called) = (Address::parse(caller).number, Address::parse(called).number);
        // A number that was called here is ours, configured or not.
        let is_ours = |number: &str| self.directory.is_own(number) || Some(number) == called;
        let phone = person.phone_number.as_deref().filter(|phone| !is_ours(phone));
        let to = phone.or(person.forward_number.as_deref()).filter(|to| !is_ours(to) && Some(*to) != caller)?;
        let first = self.own_numbers.first().map(String::as_str);
        let from = called.filter(|called| self.directory.is_own(called)).or(first).or(called)?;
        let (words, now) = (self.phrases.of(person.language), self.clock.now());
        // Only a number of the call's own account is known to be in it.
        let account_sid = call.account().filter(|_| Some(from) == called);
        let account = self.accounts.of(account_sid, from);
        Some(OutboundText {
            account_sid,
            messaging_service_sid: account.and_then(|account| account.messaging_service_sid.clone()),
            user_id: person.user_id,
            peer: String::new(),
            from: from.to_owned(),
            to: to.to_owned(),
            text: Limit::Messages(1).shorten(words.notice(
                caller,
                transcript,
                voicemail.duration_seconds.unwrap_or_default(),
            )),
            occasion: format!("voicemail {}", voicemail.id),
            at: now,
            is_unsolicited: true,
            due_at: person.quiet_until(self.quiet_hours, now).unwrap_or(now),
        })
    }
}
