//! Whose a call or text is: the caller's own, if the caller is a user; else the user's whose number was called; else a
//! new user's. And with whom the user then speaks: the peer, which keeps two callers of one owner apart.

use crate::clock::{Clock, Micros};
use crate::config::{Config, Transport, UnknownCallers};
use crate::db::users::Profile;
use crate::db::{Db, DbError};
use crate::quiet_hours::{QuietHours, time_zone};
use crate::twilio::address::Address;
use crate::twilio::voices::{self, Language, Voice};
use jiff::tz::TimeZone;
use moka::future::Cache;
use std::sync::Arc;
use std::time::Duration;

/// How long a change of a user may not be seen by other instances, or by a webhook that was under way when it was made.
const FRESH: Duration = Duration::from_secs(10);
/// Pairs of numbers that are remembered.
const REMEMBERED: u64 = 10_000;
/// Seconds after which a pause starts a new conversation, for people without preferences.
pub const DEFAULT_CONVERSATION_TIMEOUT: i64 = 300;
/// The user of everybody whose number is withheld and who called a number without an owner.
pub const WITHHELD: &str = "withheld-number";

/// A user as calls and texts need to know one, with the defaults filled in.
#[derive(Debug, Clone)]
pub struct Person {
    /// The user.
    pub user_id: i64,
    /// See [`crate::db::users::User::is_active`].
    pub is_active: bool,
    /// The user's own number in E.164; it may be one of ours.
    pub phone_number: Option<String>,
    /// In E.164, where the owner of one of our numbers is reached.
    pub forward_number: Option<String>,
    /// The language to speak and to listen for.
    pub language: &'static Language,
    /// The preferred voice, as the preferences name it.
    pub tts_voice: String,
    /// The voice that speaks the language.
    pub voice: Voice,
    /// Whether texts are answered, or only drafted.
    pub auto_reply: bool,
    /// Seconds after which a pause starts a new conversation.
    pub conversation_timeout: i64,
    /// Whether the user wants to be told of what happened.
    pub notifications_enabled: bool,
    /// How the user's calls are carried; `None` leaves it to the setting.
    pub voice_transport: Option<Transport>,
    /// Where the user's clocks are.
    pub time_zone: TimeZone,
}

impl Person {
    /// When the quiet hours end, if it is one of them where this person is.
    pub fn quiet_until(&self, hours: Option<QuietHours>, now: Micros) -> Option<Micros> {
        hours?.end(now, &self.time_zone)
    }
}

/// A user, and with whom the user speaks.
#[derive(Debug, Clone)]
pub struct Party {
    /// The user.
    pub person: Arc<Person>,
    /// Empty when the users themselves speak; the other side's address when the user is the owner of the called number;
    /// the CallSid (or MessageSid) when the other side is unknown.
    pub peer: String,
}

/// Finds out whose a call or text is. Cheap to clone.
#[derive(Clone)]
pub struct Directory {
    db: Db,
    clock: Clock,
    unknown: UnknownCallers,
    auto_reply_default: bool,
    default_time_zone: TimeZone,
    own_numbers: Arc<[String]>,
    known: Cache<String, Option<Arc<Person>>>,
}

/// What is remembered of two numbers.
fn key(from: &Address<'_>, to: &Address<'_>) -> String {
    format!("{} {}", from.number.unwrap_or_default(), to.number.unwrap_or_default())
}

impl Directory {
    /// A directory over the users in `db`. Nobody becomes a user by calling from one of our own numbers.
    pub fn new(db: Db, clock: Clock, config: &Config) -> Self {
        Self {
            db,
            clock,
            unknown: config.unknown_callers,
            auto_reply_default: config.auto_reply_default,
            default_time_zone: time_zone(&config.default_time_zone).unwrap_or(TimeZone::UTC),
            own_numbers: config.twilio.phone_numbers.as_slice().into(),
            known: Cache::builder().max_capacity(REMEMBERED).time_to_live(FRESH).build(),
        }
    }

    /// Whose a call or text from `from` to `to` is; `sid` names it. `None` when it is nobody's and strangers are
    /// refused.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn party(&self, from: &Address<'_>, to: &Address<'_>, sid: &str) -> Result<Option<Party>, DbError> {
        if let Some(party) = self.known_party(from, to, sid).await? {
            return Ok(Some(party));
        }
        if self.unknown == UnknownCallers::Refuse {
            return Ok(None);
        }
        let Some(number) = from.number.filter(|number| !self.is_own(number)) else {
            return Ok(Some(self.withheld(sid).await?));
        };
        let spare = format!("{number} ({})", &uuid::Uuid::now_v7().simple().to_string()[20..]);
        self.db.create_caller(self.clock.now(), number, &spare, Some(number)).await?;
        self.known.invalidate(&key(from, to)).await;
        self.known_party(from, to, sid).await
    }

    /// A user's own side of things, for the REST API.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn person(&self, user_id: i64) -> Result<Option<Person>, DbError> {
        Ok(self.db.profile(user_id).await?.map(|profile| self.person_of(profile)))
    }

    /// Forgets all that is remembered, after a user or preferences changed.
    pub async fn forget(&self) {
        self.known.invalidate_all();
        self.known.run_pending_tasks().await;
    }

    /// Whether a number is one of ours.
    pub fn is_own(&self, number: &str) -> bool {
        self.own_numbers.iter().any(|own| own == number)
    }

    /// Like [`Directory::party`] for those who are users already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn known_party(&self, from: &Address<'_>, to: &Address<'_>, sid: &str) -> Result<Option<Party>, DbError> {
        if from.number.is_none() && to.number.is_none() {
            return Ok(None);
        }
        let key = key(from, to);
        let found = match self.known.get(&key).await {
            Some(found) => found,
            None => {
                let profile = self.db.profile_between(from.number, to.number).await?;
                let found = profile.map(|profile| Arc::new(self.person_of(profile)));
                self.known.insert(key, found.clone()).await;
                found
            }
        };
        Ok(found.map(|person| {
            let is_caller = from.number.is_some() && person.phone_number.as_deref() == from.number;
            let peer = match (is_caller, from.number) {
                (true, _) => String::new(),
                (false, Some(number)) => number.to_owned(),
                (false, None) => sid.to_owned(),
            };
            Party { person, peer }
        }))
    }

    async fn withheld(&self, sid: &str) -> Result<Party, DbError> {
        let profile = match self.db.profile_by_name(WITHHELD).await? {
            Some(profile) => profile,
            None => {
                self.db.create_caller(self.clock.now(), WITHHELD, WITHHELD, None).await?;
                self.db.profile_by_name(WITHHELD).await?.ok_or(DbError::NoParent)?
            }
        };
        Ok(Party { person: Arc::new(self.person_of(profile)), peer: sid.to_owned() })
    }

    fn person_of(&self, profile: Profile) -> Person {
        let tag = profile.language.as_deref().unwrap_or(voices::DEFAULT_LANGUAGE);
        let language = voices::language(tag).unwrap_or(&voices::languages()[0]);
        let tts_voice = profile.tts_voice.unwrap_or_else(|| voices::DEFAULT_VOICE.to_owned());
        Person {
            user_id: profile.user_id,
            is_active: profile.is_active,
            phone_number: profile.phone_number,
            forward_number: profile.forward_number,
            language,
            voice: voices::voice_for(&tts_voice, language),
            tts_voice,
            auto_reply: profile.auto_reply_enabled.unwrap_or(self.auto_reply_default),
            conversation_timeout: profile.conversation_timeout.unwrap_or(DEFAULT_CONVERSATION_TIMEOUT),
            notifications_enabled: profile.notifications_enabled.unwrap_or(true),
            voice_transport: profile.voice_transport.as_deref().and_then(Transport::of),
            time_zone: profile.time_zone.and_then(|name| time_zone(&name)).unwrap_or(self.default_time_zone.clone()),
        }
    }
}
