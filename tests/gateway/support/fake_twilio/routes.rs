//! What the fake answers to each request.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{Mishap, State};
use crate::support::scripted_server::{Request, Step, json_response, response};
use crate::support::twilio_resources::{CallUpdate, PlacedCall, SentMessage, error_body, is_address, is_within};

/// A JSON answer before it is put into bytes.
struct Answer(u16, serde_json::Value);

impl Answer {
    fn error(status: u16, code: u32, message: &str) -> Self {
        Answer(status, error_body(status, code, message))
    }
}

/// Answers in the name of the account in the request's path; `main` is the account of paths that name none.
pub fn answer(state: &mut State, main: &str, request: &Request) -> Vec<Step> {
    let named = request.path.strip_prefix("/2010-04-01/Accounts/").and_then(|path| path.split('/').next());
    let account = named.unwrap_or(main);
    let write =
        |Answer(status, body): Answer, headers: &[(&str, &str)]| Step::Write(json_response(status, headers, &body));
    let credentials = state.credentials.get(account).map(String::as_str);
    if credentials.is_none() || request.header("authorization") != credentials {
        let challenge = [("WWW-Authenticate", "Basic realm=\"Twilio API\"")];
        return vec![write(Answer::error(401, 20003, "Authenticate"), &challenge)];
    }
    let mishap = if request.method == "POST" {
        state.posts += 1;
        state.mishaps.pop_front()
    } else {
        state.lookups += 1;
        state.lookup_mishaps.pop_front()
    };
    if let Some(url) = state.moved.get(&request.path) {
        return vec![Step::Write(response(307, &[("Location", url)], ""))];
    }
    let file = state.files.get(&request.path).filter(|_| request.method == "GET" && mishap.is_none());
    if let Some((content_type, bytes)) = file {
        state.fetches += 1;
        return vec![Step::Write(response(200, &[("Content-Type", content_type)], bytes))];
    }
    match mishap {
        None => vec![write(route(state, account, request), &[])],
        Some(Mishap::Error { status, code, retry_after }) => {
            let seconds = retry_after.map(|seconds| seconds.to_string());
            let headers: Vec<_> = seconds.iter().map(|seconds| ("Retry-After", seconds.as_str())).collect();
            vec![write(Answer::error(status, code, "the scripted Twilio fails"), &headers)]
        }
        Some(Mishap::DoneButCut) => {
            route(state, account, request);
            vec![Step::Cut]
        }
        Some(Mishap::Silence(gate)) => vec![Step::Hold(gate), Step::Cut],
        Some(Mishap::DoneAndHeld(gate)) => vec![Step::Hold(gate), write(route(state, account, request), &[])],
    }
}

fn route(state: &mut State, account: &str, request: &Request) -> Answer {
    let not_found = || Answer::error(404, 20404, &format!("The requested resource {} was not found", request.path));
    let Some(path) = request.path.strip_prefix(&format!("/2010-04-01/Accounts/{account}/")) else { return not_found() };
    let segments: Vec<_> = path.strip_suffix(".json").unwrap_or_default().split('/').collect();
    let form = || form_urlencoded::parse(&request.body).into_owned().collect::<Vec<(String, String)>>();
    match (request.method.as_str(), segments.as_slice()) {
        ("POST", ["Messages"]) => create_message(state, account, &form()),
        ("GET", ["Messages"]) => list_messages(state, request),
        ("GET", ["Messages", sid]) => match state.messages.iter().find(|message| message.sid == *sid) {
            Some(message) => Answer(200, message.resource()),
            None => not_found(),
        },
        ("POST", ["Calls"]) => place_call(state, account, &form()),
        ("GET", ["Calls"]) => list_calls(state, request),
        ("GET", ["Calls", sid]) => match state.placed_calls.iter().find(|call| call.sid == *sid) {
            Some(call) => Answer(200, call.resource()),
            None => not_found(),
        },
        ("POST", ["Calls", sid]) => {
            let update = CallUpdate { sid: (*sid).to_owned(), account: account.to_owned(), fields: form() };
            if let Some((code, message)) = update.fault() {
                return Answer::error(400, code, message);
            }
            state.call_updates.push(update.clone());
            // A call that came in is unknown here, and taken all the same.
            let Some(call) = state.placed_calls.iter_mut().find(|call| call.sid == *sid) else {
                return Answer(200, update.resource());
            };
            call.status = update.field("Status").map_or_else(|| call.status.clone(), str::to_owned);
            Answer(200, call.resource())
        }
        _ => not_found(),
    }
}

fn create_message(state: &mut State, account: &str, form: &[(String, String)]) -> Answer {
    let field =
        |name| form.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.clone());
    let Some(to) = field("To") else { return Answer::error(400, 21604, "A 'To' phone number is required.") };
    if !is_address(&to) {
        return Answer::error(400, 21211, "Invalid 'To' Phone Number");
    }
    let Some(from) = field("From").or_else(|| field("MessagingServiceSid")) else {
        return Answer::error(400, 21603, "A 'From' phone number is required.");
    };
    let Some(body) = field("Body") else { return Answer::error(400, 21602, "Message body is required.") };
    if body.chars().count() > 1600 {
        return Answer::error(400, 21617, "The concatenated message body exceeds the 1600 character limit");
    }
    let body = if state.trial { format!("Sent from your Twilio trial account - {body}") } else { body };
    let status_callback = field("StatusCallback");
    let account = account.to_owned();
    let sid = new_sid("SM");
    let created = now(state);
    let message = SentMessage { sid, to, from, body, status_callback, account, direction: "outbound-api", created };
    state.messages.push(message.clone());
    Answer(201, message.resource())
}

/// A message that did not come over REST.
pub fn reply(state: &State, account: &str, from: &str, to: &str, body: &str) -> SentMessage {
    SentMessage {
        sid: new_sid("SM"),
        to: to.to_owned(),
        from: from.to_owned(),
        body: body.to_owned(),
        status_callback: None,
        account: account.to_owned(),
        direction: "outbound-reply",
        created: now(state),
    }
}

fn place_call(state: &mut State, account: &str, form: &[(String, String)]) -> Answer {
    let field =
        |name| form.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.clone());
    let Some(to) = field("To") else { return Answer::error(400, 21201, "No 'To' number is specified") };
    if !is_address(&to) {
        return Answer::error(400, 21211, "Invalid 'To' Phone Number");
    }
    let Some(from) = field("From") else { return Answer::error(400, 21213, "'From' phone number is required") };
    if field("Url").is_none() && field("Twiml").is_none() {
        return Answer::error(400, 21205, "Url parameter is required");
    }
    let call = PlacedCall {
        sid: new_sid("CA"),
        to,
        from,
        account: account.to_owned(),
        fields: form.to_vec(),
        created: now(state),
        status: "queued".to_owned(),
    };
    state.placed_calls.push(call.clone());
    Answer(201, call.resource())
}

fn list_messages(state: &State, request: &Request) -> Answer {
    let of = |message: &SentMessage| Listed {
        to: message.to.clone(),
        from: message.from.clone(),
        status: None,
        created: message.created,
        resource: message.resource(),
    };
    let is_left_out = state.queued && request.query.contains("DateSent");
    let is_listed = |message: &&SentMessage| {
        !is_left_out && now(state) - message.created >= time::Duration::seconds(state.listed_after)
    };
    let found = state.messages.iter().rev().filter(is_listed);
    list("messages", "DateSent", found.map(of).collect(), request)
}

fn list_calls(state: &State, request: &Request) -> Answer {
    let of = |call: &PlacedCall| Listed {
        to: call.to.clone(),
        from: call.from.clone(),
        status: Some(call.status.clone()),
        created: call.created,
        resource: call.resource(),
    };
    list("calls", "StartTime", state.placed_calls.iter().rev().map(of).collect(), request)
}

/// An entry of a list, with what lists are filtered by.
struct Listed {
    to: String,
    from: String,
    status: Option<String>,
    created: OffsetDateTime,
    resource: Value,
}

/// The page of `found`, newest first, that the request asks for.
fn list(name: &str, date_filter: &str, mut found: Vec<Listed>, request: &Request) -> Answer {
    let (mut page, mut page_size, mut filters) = (0, 50, form_urlencoded::Serializer::new(String::new()));
    for (filter, value) in form_urlencoded::parse(request.query.as_bytes()) {
        if filter != "Page" {
            filters.append_pair(&filter, &value);
        }
        match filter.as_ref() {
            "To" => found.retain(|entry| entry.to == value),
            "From" => found.retain(|entry| entry.from == value),
            "Status" if name == "calls" => found.retain(|entry| entry.status.as_deref() == Some(&value)),
            "Page" => page = value.parse().unwrap_or(0),
            "PageSize" => page_size = value.parse().unwrap_or(50).clamp(1, 1000),
            filter if filter.trim_end_matches(['<', '>']) == date_filter => {
                let relation = filter.chars().last().filter(|last| "<>".contains(*last)).unwrap_or('=');
                if found.iter().any(|entry| is_within(entry.created, relation, &value).is_none()) {
                    return Answer::error(400, 20001, &format!("{date_filter} is not a date"));
                }
                found.retain(|entry| is_within(entry.created, relation, &value) == Some(true));
            }
            _ => return Answer::error(400, 20001, &format!("a parameter that a list of {name} does not take")),
        }
    }
    let start = (page * page_size).min(found.len());
    let end = (start + page_size).min(found.len());
    let filters = filters.finish();
    let next = (end < found.len()).then(|| format!("{}?{filters}&Page={}", request.path, page + 1));
    let entries: Vec<_> = found[start..end].iter().map(|entry| &entry.resource).collect();
    Answer(
        200,
        json!({
            name: entries,
            "page": page,
            "page_size": page_size,
            "start": start,
            "end": end.saturating_sub(1),
            "first_page_uri": format!("{}?PageSize={page_size}&Page=0", request.path),
            "next_page_uri": next,
            "previous_page_uri": null,
            "uri": request.path,
        }),
    )
}

/// An id unlike those that tests make up for what comes in.
fn new_sid(prefix: &str) -> String {
    static CREATED: AtomicU64 = AtomicU64::new(1);
    format!("{prefix}fa4e{:028x}", CREATED.fetch_add(1, Ordering::Relaxed))
}

#[expect(clippy::disallowed_methods, reason = "the fake is another machine: it has a clock of its own")]
fn now(state: &State) -> OffsetDateTime {
    // Twilio's dates have whole seconds.
    let now = OffsetDateTime::now_utc() + time::Duration::seconds(state.ahead);
    now.replace_nanosecond(0).expect("zero is a valid nanosecond")
}
