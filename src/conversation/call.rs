//! A call as the conversation on it needs to know it.

use super::party::{Party, Person};
use crate::config::AccountSid;
use crate::twilio::voices::{self, Language};
use std::sync::Arc;

/// Who is on the telephone, and what may be done for them.
#[derive(Debug, Clone)]
pub struct OnCall {
    /// The Twilio account that the call is in.
    pub account_sid: Option<AccountSid>,
    /// The account's Messaging Service, or none.
    pub messaging_service_sid: Option<Arc<str>>,
    /// Twilio's id.
    pub call_sid: String,
    /// Whose conversation it is, and with whom. The person speaks the call's language, which may have been switched.
    pub party: Party,
    /// The address of the person on the telephone, as Twilio gave it.
    pub caller: String,
    /// Our address.
    pub ours: String,
    /// Why we called, when we did.
    pub purpose: Option<String>,
    /// The number callers are transferred to: the person's own or the operator's, in E.164; none if there is nobody.
    pub transfer_to: Option<String>,
}

impl OnCall {
    /// The person whose conversation it is.
    pub fn person(&self) -> &Arc<Person> {
        &self.party.person
    }

    /// The same call in the language with this tag; without one, or with an unknown one, as it is.
    pub fn in_language(self, tag: Option<&str>) -> Self {
        match tag.and_then(voices::language) {
            Some(language) => self.speaking(language),
            None => self,
        }
    }

    /// The same call in another language.
    pub fn speaking(mut self, language: &'static Language) -> Self {
        self.switch(language);
        self
    }

    /// Goes on in another language, with the voice there that comes nearest to the person's.
    pub fn switch(&mut self, language: &'static Language) {
        if self.party.person.language != language {
            let person = Arc::make_mut(&mut self.party.person);
            person.voice = voices::voice_for(&person.tts_voice, language);
            person.language = language;
        }
    }
}
