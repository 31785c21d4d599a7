//! Preferences: how a user wants to be spoken to.

use super::Tag;
use super::auth::Admin;
use super::outcome::{Created, Deleted, NOT_FOUND, Outcome, TAKEN};
use super::problem::Problem;
use super::request::{InPath, InQuery, JsonBody};
use super::text::{self, LanguageTag, PhoneNumber, Text, TimeZoneName, TransportName, VoiceName};
use super::users::no_user;
use super::values::{Id, Nullable, Timestamp, Whole};
use crate::app::App;
use crate::conversation::party::DEFAULT_CONVERSATION_TIMEOUT;
use crate::db::preferences::{self, PreferencesChange};
use crate::quiet_hours::time_zone_name;
use crate::twilio::voices::{self, DEFAULT_LANGUAGE, DEFAULT_VOICE, VoiceError};
use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::{Example, MaybeUndefined};
use poem_openapi::{Object, OpenApi};
use std::sync::Arc;
use std::time::Duration;

/// How often a change is tried again when somebody else changed the preferences in between.
const TRIES: usize = 5;
/// Seconds, at most a day.
type ConversationTimeout = Whole<0, 86_400>;

/// How a user wants to be spoken to.
#[derive(Object)]
#[oai(example)]
struct Preferences {
    /// By which they are changed and deleted.
    id: i64,
    /// Whose they are.
    user_id: i64,
    /// The language spoken and listened for.
    language: String,
    /// The voice that speaks it.
    tts_voice: String,
    /// Whether texts are answered; if not, replies are drafted and shown in the history.
    auto_reply_enabled: bool,
    /// Seconds after which a pause starts a new conversation.
    conversation_timeout: i64,
    /// Whether the user wants to be told of what happened.
    notifications_enabled: bool,
    /// Where the owner of one of our numbers is reached, in E.164 form.
    forward_number: Nullable<String>,
    /// How the user's calls are carried: `gather` (webhooks), `relay` (ConversationRelay), or null for the setting
    /// `VOICE_TRANSPORT`.
    voice_transport: Nullable<String>,
    /// The user's time zone by its IANA name, by which quiet hours (`SMS_QUIET_HOURS`) are told; null for the setting
    /// `DEFAULT_TIME_ZONE`.
    time_zone: Nullable<String>,
    /// When they were made.
    created_at: Timestamp,
    /// When they were last changed.
    updated_at: Timestamp,
}

impl From<preferences::Preferences> for Preferences {
    fn from(row: preferences::Preferences) -> Self {
        Self {
            id: row.id,
            user_id: row.user_id,
            language: row.language,
            tts_voice: row.tts_voice,
            auto_reply_enabled: row.auto_reply_enabled,
            conversation_timeout: row.conversation_timeout,
            notifications_enabled: row.notifications_enabled,
            forward_number: row.forward_number.into(),
            voice_transport: row.voice_transport.into(),
            time_zone: row.time_zone.into(),
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
        }
    }
}

impl Example for Preferences {
    fn example() -> Self {
        Self {
            id: 1,
            user_id: 1,
            language: DEFAULT_LANGUAGE.to_owned(),
            tts_voice: DEFAULT_VOICE.to_owned(),
            auto_reply_enabled: true,
            conversation_timeout: DEFAULT_CONVERSATION_TIMEOUT,
            notifications_enabled: true,
            forward_number: None.into(),
            voice_transport: None.into(),
            time_zone: Some("Europe/Berlin".to_owned()).into(),
            created_at: Timestamp::EXAMPLE,
            updated_at: Timestamp::EXAMPLE,
        }
    }
}

/// New preferences, or what to change of some. What is left out takes its default, or stays as it is.
#[derive(Object)]
#[oai(rename = "PreferencesInput", example)]
struct Given {
    /// The language spoken and listened for (default `en`). Case does not matter; another region of a listed language
    /// means that language.
    language: Option<Text<LanguageTag>>,
    /// The voice that speaks it (default `nova`): one of OpenAI's names, `man`, `woman`, or a Twilio voice of that
    /// language such as `Polly.Ruth-Neural`.
    tts_voice: Option<Text<VoiceName>>,
    /// Whether texts are answered (default `AUTO_REPLY_DEFAULT`); if not, replies are drafted and shown in the history.
    auto_reply_enabled: Option<bool>,
    /// Seconds after which a pause starts a new conversation (default 300).
    conversation_timeout: Option<ConversationTimeout>,
    /// Whether the user wants to be told of what happened (default true).
    notifications_enabled: Option<bool>,
    /// Where the owner of one of our numbers is reached, in E.164 form; null takes it away.
    #[oai(nullable)]
    forward_number: MaybeUndefined<Text<PhoneNumber>>,
    /// How the user's calls are carried: `gather` (webhooks) or `relay` (ConversationRelay); null leaves it to the
    /// setting `VOICE_TRANSPORT`.
    #[oai(nullable)]
    voice_transport: MaybeUndefined<Text<TransportName>>,
    /// The user's time zone by its IANA name, in any case; null leaves it to the setting `DEFAULT_TIME_ZONE`.
    #[oai(nullable)]
    time_zone: MaybeUndefined<Text<TimeZoneName>>,
}

impl Example for Given {
    fn example() -> Self {
        Self {
            language: Some(Text::example()),
            tts_voice: Some(Text::example()),
            auto_reply_enabled: Some(false),
            conversation_timeout: Some(Whole(DEFAULT_CONVERSATION_TIMEOUT)),
            notifications_enabled: Some(true),
            forward_number: MaybeUndefined::Undefined,
            voice_transport: MaybeUndefined::Value(Text::example()),
            time_zone: MaybeUndefined::Value(Text::example()),
        }
    }
}

impl From<Given> for PreferencesChange {
    fn from(given: Given) -> Self {
        let canonical = |tag: Text<LanguageTag>| voices::language(&tag.into_inner()).map(|known| known.tag.to_owned());
        Self {
            language: given.language.and_then(canonical),
            tts_voice: given.tts_voice.map(Text::into_inner),
            auto_reply_enabled: given.auto_reply_enabled,
            conversation_timeout: given.conversation_timeout.map(|seconds| seconds.0),
            notifications_enabled: given.notifications_enabled,
            forward_number: text::update(given.forward_number),
            voice_transport: text::update(given.voice_transport),
            time_zone: text::update(given.time_zone).map(|name| name.as_deref().and_then(time_zone_name)),
        }
    }
}

/// `/preferences`
#[derive(Clone, Copy)]
pub(super) struct PreferencesApi;

#[OpenApi(prefix_path = "/preferences", tag = "Tag::Preferences")]
impl PreferencesApi {
    /// Create preferences
    ///
    /// A user has one set of preferences or none; without any the defaults count.
    #[oai(path = "/", method = "post", operation_id = "createPreferences")]
    async fn create(
        &self,
        _admin: Admin,
        app: Data<&Arc<App>>,
        /// Whose they are.
        user_id: InQuery<Id>,
        body: JsonBody<Given>,
    ) -> Outcome<Created<Preferences>, { NOT_FOUND | TAKEN }> {
        let given = PreferencesChange::from(body.0);
        check_forward_number(&app, &given)?;
        check_voice(&given, DEFAULT_LANGUAGE, DEFAULT_VOICE)?;
        let default = PreferencesChange {
            language: Some(DEFAULT_LANGUAGE.to_owned()),
            tts_voice: Some(DEFAULT_VOICE.to_owned()),
            auto_reply_enabled: Some(app.config.auto_reply_default),
            conversation_timeout: Some(DEFAULT_CONVERSATION_TIMEOUT),
            notifications_enabled: Some(true),
            forward_number: None,
            voice_transport: None,
            time_zone: None,
        };
        let made = app.db.create_preferences(app.clock.now(), user_id.0.0, given, default).await?;
        app.directory.forget().await;
        Ok(Created::Created(Json(made.into())))
    }

    /// Get a user's preferences
    ///
    /// Here `id` is the id of the user.
    #[oai(path = "/:id", method = "get", operation_id = "getPreferences")]
    async fn get(
        &self,
        _admin: Admin,
        app: Data<&Arc<App>>,
        /// The user's id.
        id: InPath<Id>,
    ) -> Outcome<Json<Preferences>, NOT_FOUND> {
        let user_id = id.0.0;
        if let Some(found) = app.db.preferences_of(user_id).await? {
            return Ok(Json(found.into()));
        }
        app.db.user(user_id).await?.ok_or_else(|| no_user(user_id))?;
        Err(Problem::not_found(format!("The user {user_id} has no preferences; the defaults count.")).into())
    }

    /// Change preferences
    ///
    /// Here `id` is the id of the preferences. What the body leaves out stays as it is.
    #[oai(path = "/:id", method = "put", operation_id = "updatePreferences")]
    async fn update(
        &self,
        _admin: Admin,
        app: Data<&Arc<App>>,
        /// The id of the preferences.
        id: InPath<Id>,
        body: JsonBody<Given>,
    ) -> Outcome<Json<Preferences>, NOT_FOUND> {
        let (id, change) = (id.0.0, PreferencesChange::from(body.0));
        check_forward_number(&app, &change)?;
        for _ in 0..TRIES {
            let stored = app.db.preferences(id).await?.ok_or_else(|| no_preferences(id))?;
            check_voice(&change, &stored.language, &stored.tts_voice)?;
            let checked = (stored.language, stored.tts_voice);
            let changed = app.db.update_preferences(app.clock.now(), id, change.clone(), checked).await?;
            app.directory.forget().await;
            if let Some(changed) = changed {
                return Ok(Json(changed.into()));
            }
        }
        let detail = "Others are changing these preferences at the same time.";
        Err(Problem::unavailable(detail, Some(Duration::from_secs(1))).into())
    }

    /// Delete preferences
    ///
    /// Here `id` is the id of the preferences. The defaults count again.
    #[oai(path = "/:id", method = "delete", operation_id = "deletePreferences")]
    async fn delete(
        &self,
        _admin: Admin,
        app: Data<&Arc<App>>,
        /// The id of the preferences.
        id: InPath<Id>,
    ) -> Outcome<Deleted, NOT_FOUND> {
        let gone = app.db.delete_preferences(id.0.0).await?;
        app.directory.forget().await;
        if gone.is_some() { Ok(Deleted::Deleted) } else { Err(no_preferences(id.0.0).into()) }
    }
}

fn no_preferences(id: i64) -> Problem {
    Problem::not_found(format!("There are no preferences {id}."))
}

/// Refuses to forward calls to a number of ours, which would call ourselves.
fn check_forward_number(app: &App, given: &PreferencesChange) -> Result<(), Problem> {
    match &given.forward_number {
        Some(Some(number)) if app.directory.is_own(number) => Err(Problem::invalid_field(
            "forward_number",
            "must not be one of TWILIO_PHONE_NUMBERS: a forwarded call would come back",
        )),
        _ => Ok(()),
    }
}

/// Refuses a language and a voice that do not go together. Where only one of them is given, the other is the one that
/// counts so far; where none is, nothing changes.
fn check_voice(given: &PreferencesChange, language: &str, tts_voice: &str) -> Result<(), Problem> {
    if given.language.is_none() && given.tts_voice.is_none() {
        return Ok(());
    }
    let tag = given.language.as_deref().unwrap_or(language);
    let voice = given.tts_voice.as_deref().unwrap_or(tts_voice);
    voices::check(voice, tag).map_err(|error| {
        let field = match error {
            VoiceError::UnknownLanguage => "language",
            VoiceError::UnknownVoice => "tts_voice",
            VoiceError::OtherLanguage { .. } if given.tts_voice.is_none() => "language",
            VoiceError::OtherLanguage { .. } => "tts_voice",
        };
        Problem::invalid_field(field, format!("cannot be taken: {error}"))
    })
}
