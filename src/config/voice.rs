//! The settings of calls.

use std::time::Duration;

/// How calls are held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoiceConfig {
    /// How long one webhook waits for words before it plays a short wait, at most 10 s (`VOICE_REPLY_BUDGET`).
    pub reply_budget: Duration,
    /// How long a caller waits in all without hearing new words before an apology; words that are being spoken do not
    /// count. At least the budget, at most 300 s (`VOICE_PATIENCE`).
    pub patience: Duration,
    /// How calls are carried whose user has no preference (`VOICE_TRANSPORT`).
    pub transport: Transport,
    /// The longest a call may last, 1 to 240 minutes (`VOICE_MAX_MINUTES`).
    pub longest_call: Duration,
    /// Whom callers are transferred to when the user has no `forward_number`: E.164, never a number of ours
    /// (`TRANSFER_NUMBER`).
    pub transfer_number: Option<String>,
    /// `<Gather speechModel>`; `None` leaves the choice to Twilio (`SPEECH_MODEL`).
    pub speech_model: Option<String>,
    /// `<Gather hints>`, words and phrases separated by commas; empty for none (`SPEECH_HINTS`).
    pub speech_hints: String,
    /// Who reads answers aloud (`SPEECH`).
    pub speech: SpeechSource,
    /// Whether a call is summed up when it is over (`CALL_SUMMARIES`).
    pub summaries: bool,
    /// What the model may do on a call, each once (`VOICE_TOOLS`).
    pub tools: Vec<VoiceTool>,
    /// The longest message a caller may leave, 1 to 600 seconds (`VOICEMAIL_MAX_SECONDS`).
    pub longest_voicemail: Duration,
}

/// How a call is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Webhooks: `<Gather>` hears, `<Say>` or `<Play>` answers.
    Gather,
    /// A WebSocket: `<ConversationRelay>`.
    Relay,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Gather, Self::Relay];

    /// The word for it in settings, preferences and the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gather => "gather",
            Self::Relay => "relay",
        }
    }

    /// The one of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|transport| transport.name() == name)
    }
}

/// Who reads answers aloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpeechSource {
    /// Twilio, by `<Say>`.
    Twilio,
    /// The model's speech endpoint; Twilio gets the sound by `<Play>`, or by a `play` frame on ConversationRelay.
    OpenAi,
}

/// Something the model may do on a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoiceTool {
    /// Say goodbye and hang up.
    EndCall,
    /// Transfer the caller to the user's `forward_number` or the operator's `TRANSFER_NUMBER`.
    TransferToHuman,
    /// Go on in another language.
    SwitchLanguage,
    /// Send the caller a text.
    SendTextToCaller,
}

impl VoiceTool {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::EndCall, Self::TransferToHuman, Self::SwitchLanguage, Self::SendTextToCaller];

    /// The name in the settings, by which the model calls it too.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EndCall => "end_call",
            Self::TransferToHuman => "transfer_to_human",
            Self::SwitchLanguage => "switch_language",
            Self::SendTextToCaller => "send_text_to_caller",
        }
    }
}
