//! The settings of texts.

use crate::quiet_hours::QuietHours;
use std::time::Duration;

/// How texts are answered.
#[derive(Debug, Clone, PartialEq)]
pub struct SmsConfig {
    /// How long the webhook waits for a reply before it is sent later, at most 12 s: Twilio gives up after 15 s
    /// (`SMS_REPLY_BUDGET`).
    pub reply_budget: Duration,
    /// How many texts are answered at the same time while their webhooks wait, 1 to 1500 (`SMS_WAITING`).
    pub waiting: usize,
    /// The most segments a reply may take, 1 to 100 (`SMS_MAX_SEGMENTS`).
    pub max_segments: usize,
    /// Whether typographic signs are written in the GSM alphabet when that saves segments (`SMS_SMART_ENCODING`).
    pub smart_encoding: bool,
    /// What one segment costs, 0 to 100 in any currency (`SMS_SEGMENT_PRICE`).
    pub segment_price: Option<f64>,
    /// Whether STOP, START and HELP are answered here instead of by Twilio (`SMS_KEYWORD_REPLIES`).
    pub keyword_replies: bool,
    /// When texts that nobody asked for wait, by the clocks of their receivers (`SMS_QUIET_HOURS`).
    pub quiet_hours: Option<QuietHours>,
    /// The most replies that one peer gets in ten minutes, 1 to 10000 (`SMS_LOOP_LIMIT`).
    pub loop_limit: i64,
    /// How long a text waits for others of its sender that are answered with it, at most 30 s; zero answers each alone
    /// (`SMS_QUIET_WINDOW`).
    pub quiet_window: Duration,
    /// Where Twilio reports the delivery of replies, in place of the gateway itself (`SMS_STATUS_CALLBACK`).
    pub status_callback: Option<String>,
}
