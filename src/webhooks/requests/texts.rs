//! The fields of texts' webhooks.

use super::{BadField, Webhook, account, address, sid, word};
use crate::config::AccountSid;
use crate::db::reply_reports::ReplyReport;
use crate::twilio::form::Form;
use serde_json::json;

/// An incoming text.
#[derive(Debug)]
pub struct IncomingText {
    /// The account.
    pub account: Option<AccountSid>,
    /// The text's id.
    pub message_sid: String,
    /// The sender.
    pub from: String,
    /// Our number.
    pub to: String,
    /// What was written; the button's words when one was pressed. With it goes a location that was sent, in words.
    pub text: String,
    /// Twilio's reading of a keyword, with Advanced Opt-Out.
    pub opt_out_type: Option<String>,
    /// The Messaging Service that our number is in, or none.
    pub messaging_service_sid: Option<String>,
    /// What the sender is called on WhatsApp or RCS.
    pub profile_name: Option<String>,
    /// Whether it is a reaction to another message (WhatsApp and RCS).
    pub is_reaction: bool,
    /// Whether it is no text at all, but a report that one of ours was delivered or read.
    pub is_receipt: bool,
    /// JSON list of `{url, content_type}`.
    pub media: Option<String>,
}

/// The states of messages that we sent; one that comes in is `received`.
const REPORTED: [&str; 5] = ["sent", "delivered", "undelivered", "failed", "read"];

/// A name that has letters, on one line, and no longer than `longest`.
fn name(written: &str, longest: usize) -> Option<String> {
    let name: String = written.trim().chars().filter(|c| !c.is_control()).take(longest).collect();
    Some(name).filter(|name| name.contains(char::is_alphanumeric))
}

/// A place that somebody sent, in words (on WhatsApp, as `Latitude`, `Longitude` and perhaps `Label` and `Address`).
fn location(form: &Form<'_>) -> Option<String> {
    const LONGEST: usize = 200;
    let degrees = |name, most: f64| form.get(name)?.trim().parse().ok().filter(|degrees: &f64| degrees.abs() <= most);
    let (latitude, longitude) = (degrees("Latitude", 90.0)?, degrees("Longitude", 180.0)?);
    let names = [name(&form.text("Label"), LONGEST), name(&form.text("Address"), LONGEST)];
    let place: Vec<String> = names.into_iter().flatten().chain([format!("{latitude}, {longitude}")]).collect();
    Some(format!("(A location: {})", place.join("; ")))
}

/// No name of a profile is longer, in characters.
const LONGEST_PROFILE_NAME: usize = 60;
/// Twilio allows ten files a message.
const MOST_MEDIA: usize = 10;

impl Webhook for IncomingText {
    fn read(form: &Form<'_>) -> Result<Self, BadField> {
        let message_sid = sid(form, "MessageSid").or_else(|missing| sid(form, "SmsSid").map_err(|_| missing))?;
        let body = Some(form.text("Body")).filter(|body| !body.is_empty());
        let written = body.unwrap_or_else(|| form.text("ButtonText"));
        let count = form.get("NumMedia").and_then(|count| count.parse::<usize>().ok()).unwrap_or(0).min(MOST_MEDIA);
        let media: Vec<_> = (0..count)
            .filter_map(|n| {
                let url = Some(form.text(&format!("MediaUrl{n}"))).filter(|url| !url.is_empty())?;
                let content_type = form.text(&format!("MediaContentType{n}"));
                Some(json!({ "url": url, "content_type": content_type }))
            })
            .collect();
        Ok(Self {
            account: account(form),
            message_sid,
            from: address(form, "From")?,
            to: address(form, "To")?,
            text: match location(form) {
                Some(location) if written.trim().is_empty() => location,
                Some(location) => format!("{written}\n{location}"),
                None => written,
            },
            opt_out_type: word(form, "OptOutType"),
            messaging_service_sid: sid(form, "MessagingServiceSid").ok(),
            profile_name: name(&form.text("ProfileName"), LONGEST_PROFILE_NAME),
            is_reaction: form.get("MessageType").is_some_and(|kind| kind.eq_ignore_ascii_case("reaction")),
            is_receipt: form.get("EventType").is_some_and(|event| event.eq_ignore_ascii_case("read"))
                || form.get("SmsStatus").is_some_and(|status| REPORTED.contains(&status)),
            media: (!media.is_empty()).then(|| json!(media).to_string()),
        })
    }
}

/// A report on a reply's progress.
#[derive(Debug)]
pub struct MessageProgress {
    /// What is reported; nothing when Twilio names no status.
    pub report: Option<ReplyReport>,
}

impl Webhook for MessageProgress {
    fn read(form: &Form<'_>) -> Result<Self, BadField> {
        let reply_sid = sid(form, "MessageSid").or_else(|missing| sid(form, "SmsSid").map_err(|_| missing))?;
        let (from, to) = (form.text("From"), form.text("To"));
        let status = word(form, "MessageStatus").or_else(|| word(form, "SmsStatus"));
        let error_code = form.get("ErrorCode").and_then(|code| code.parse::<u32>().ok()).map(i64::from);
        let account_sid = account(form);
        let report = |status| ReplyReport { account_sid, reply_sid, from, to, status, error_code, job: None };
        Ok(Self { report: status.map(report) })
    }
}
