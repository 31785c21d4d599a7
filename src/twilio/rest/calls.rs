//! Calls that are placed and changed.

use super::{Rest, RestError};
use serde::Deserialize;

/// A call to be placed.
#[derive(Debug, Clone)]
pub struct NewCall<'a> {
    /// The number to be called, in E.164.
    pub to: &'a str,
    /// Our number.
    pub from: &'a str,
    /// The absolute URL that is asked what is said when somebody or something answers.
    pub url: &'a str,
    /// The absolute URL to which Twilio reports the call's progress.
    pub status_callback: &'a str,
    /// Whether Twilio finds out if a machine answers, while the call goes on.
    pub machine_detection: bool,
    /// The absolute URL to which Twilio reports who answered, and of a machine the end of its greeting.
    pub async_amd_callback: Option<&'a str>,
    /// The longest the call may last.
    pub time_limit_seconds: u64,
    /// How long it rings.
    pub timeout_seconds: u64,
}

/// A call as Twilio describes it.
#[derive(Debug, Clone, Deserialize)]
pub struct PlacedCall {
    /// CA…
    pub sid: String,
    /// `queued`, `ringing` …
    #[serde(default)]
    pub status: String,
}

/// What becomes of a call that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallUpdate<'a> {
    /// It goes on with the document at this absolute URL.
    Redirect(&'a str),
    /// It is over; also if it is still ringing.
    Complete,
}

impl Rest {
    /// Places a call.
    ///
    /// # Errors
    /// See [`RestError`]; on [`RestError::Unknown`] somebody's telephone may be ringing.
    pub async fn place_call(&self, call: &NewCall<'_>) -> Result<PlacedCall, RestError> {
        let (time_limit, timeout) = (call.time_limit_seconds.to_string(), call.timeout_seconds.to_string());
        let form = call.form(&time_limit, &timeout);
        self.post("Calls.json", &form).await
    }

    /// Changes a call that is under way.
    ///
    /// # Errors
    /// See [`RestError`]; [`RestError::Refused`] among others when the call is over.
    pub async fn update_call(&self, sid: &str, update: CallUpdate<'_>) -> Result<PlacedCall, RestError> {
        if !sid.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(RestError::Unusable("there is no call with such a sid"));
        }
        let path = format!("Calls/{sid}.json");
        match update {
            CallUpdate::Redirect(url) => self.post(&path, &[("Url", url), ("Method", "POST")]).await,
            CallUpdate::Complete => self.post(&path, &[("Status", "completed")]).await,
        }
    }
}

impl<'a> NewCall<'a> {
    pub(super) fn form(&self, time_limit: &'a str, timeout: &'a str) -> Vec<(&'static str, &'a str)> {
        let mut form = vec![
            ("To", self.to),
            ("From", self.from),
            ("Url", self.url),
            ("Method", "POST"),
            ("StatusCallback", self.status_callback),
            ("StatusCallbackMethod", "POST"),
            ("TimeLimit", time_limit),
            ("Timeout", timeout),
        ];
        form.extend(["initiated", "ringing", "answered", "completed"].map(|event| ("StatusCallbackEvent", event)));
        if self.machine_detection {
            form.extend([("MachineDetection", "DetectMessageEnd"), ("AsyncAmd", "true")]);
            form.extend(self.async_amd_callback.map(|url| ("AsyncAmdStatusCallback", url)));
        }
        form
    }
}
