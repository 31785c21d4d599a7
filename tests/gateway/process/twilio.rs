//! Twilio's part against a program, and the settings that let it play it.

use super::program::Program;
use crate::support::app::{ACCOUNT, Answer, CALLER, KEY, OURS, TOKEN};
use crate::support::fake_llm::FakeLlm;
use crate::support::fake_twilio::FakeTwilio;
use crate::support::signing::{encode_form, sign};

/// The services around a program.
pub struct Around {
    /// The model.
    pub llm: FakeLlm,
    /// Twilio's REST API.
    pub twilio: FakeTwilio,
}

impl Around {
    /// Starts both.
    pub async fn start() -> Self {
        Self { llm: FakeLlm::start().await, twilio: FakeTwilio::start_for(ACCOUNT, TOKEN).await }
    }

    /// The settings of a gateway between them, and `more`.
    pub fn settings(&self, more: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        let all = [
            ("OPENAI_BASE_URL", self.llm.base_url()),
            ("OPENAI_API_KEY", "sk-a-key-nobody-may-see".to_owned()),
            ("RETRY_DELAY", "0.01".to_owned()),
            ("TWILIO_ACCOUNT_SID", ACCOUNT.to_owned()),
            ("TWILIO_AUTH_TOKEN", TOKEN.to_owned()),
            ("TWILIO_API_BASE_URL", self.twilio.base_url()),
            ("TWILIO_PHONE_NUMBERS", OURS.to_owned()),
            ("ADMIN_API_KEY", KEY.to_owned()),
        ];
        all.into_iter().chain(more.iter().map(|(name, value)| (*name, (*value).to_owned()))).collect()
    }
}

/// Settings as [`Program::start`] takes them.
pub fn as_given<'s>(settings: &'s [(&'static str, String)]) -> Vec<(&'s str, &'s str)> {
    settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// Posts a signed webhook.
pub async fn webhook(program: &Program, path: &str, fields: &[(&str, &str)]) -> Answer {
    let fields = [&[("AccountSid", ACCOUNT), ("From", CALLER), ("To", OURS)], fields].concat();
    let url = program.base() + path;
    let request = reqwest::Client::new().post(&url).header("content-type", "application/x-www-form-urlencoded");
    Answer::of(request.header("x-twilio-signature", sign(TOKEN, &url, &fields)).body(encode_form(&fields))).await
}

/// Asks the REST API.
pub async fn get(program: &Program, path: &str, key: &str) -> Answer {
    Answer::of(reqwest::Client::new().get(program.base() + path).header("x-api-key", key)).await
}
