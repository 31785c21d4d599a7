//! What happens at the caller's end, and at the ends of those who are dialled.

use super::{Ending, Phone, Relay, SessionEnd, State, pairs};
use crate::support::app::{ACCOUNT, TOKEN};
use crate::support::signing::sign;

impl Phone {
    /// The call comes in at the gateway.
    pub async fn dials(&mut self) {
        assert!(matches!(self.state, State::OnHook), "a call rings once");
        let url = self.line.url("/twilio/voice");
        self.fetch(url, &[]).await;
    }

    /// The caller says this.
    pub async fn says(&mut self, words: &str) {
        let gather = self.gather_for("speech");
        let url = self.resolve(gather.attr("action"));
        self.act(url, &[("SpeechResult", words), ("Confidence", "0.9")]).await;
    }

    /// The caller says this before the gateway is done speaking.
    pub async fn barges_in(&mut self, words: &str) {
        let speaks = self.gather().is_some_and(|gather| gather.children().any(|child| child.name != "Pause"));
        assert!(speaks, "nothing is said inside a Gather: nobody listens, or nobody speaks");
        self.says(words).await;
    }

    /// The caller presses these keys and waits.
    pub async fn presses(&mut self, keys: &str) {
        let gather = self.gather_for("dtmf");
        let most = gather.attr("numDigits").and_then(|digits| digits.parse().ok()).unwrap_or(usize::MAX);
        let finish = gather.attr("finishOnKey").unwrap_or("#").chars().next();
        let digits: String = keys.chars().take_while(|key| Some(*key) != finish).take(most).collect();
        if digits.is_empty() {
            return self.stays_silent().await;
        }
        let url = self.resolve(gather.attr("action"));
        self.act(url, &[("Digits", &digits)]).await;
    }

    /// The caller lets the time to speak or to press a key, or to leave a message, run out.
    pub async fn stays_silent(&mut self) {
        match &self.state {
            State::Gathering(gather) if gather.attr("actionOnEmptyResult") == Some("true") => {
                let url = self.resolve(gather.attr("action"));
                self.act(url, &[]).await;
            }
            // Twilio does not ask the action of a Gather without input or of an empty recording.
            State::Gathering(_) => {
                self.heard.clear();
                self.follow().await;
            }
            State::Recording(record) => {
                let callback = self.recording_callback(record, "absent");
                self.heard.clear();
                self.follow().await;
                self.report_recording(callback, "absent", &[]).await;
            }
            state => panic!("nobody waits for the caller: {state:?}"),
        }
    }

    /// Follows the `<Redirect>` before which a phone that goes step by step has stopped.
    pub async fn goes_on(&mut self) {
        let State::Redirecting(url) = &self.state else { panic!("not at a Redirect: {:?}", self.state) };
        self.fetch(url.clone(), &[]).await;
    }

    /// The caller hangs up.
    pub async fn hangs_up(&mut self) {
        let connected = matches!(self.state, State::Connected(_));
        assert!(!connected, "the relay's session must end, too: Relay::hangs_up, then relay_ended");
        self.ends(Ending::Person, "completed").await;
    }

    /// The number that is rung is `busy`, gives `no-answer`, has `failed`, or was answered and the conversation is
    /// `completed` after so many seconds.
    pub async fn dial_ends(&mut self, status: &str, seconds: u32) {
        let State::Dialling(dial) = &self.state else { panic!("nobody is rung: {:?}", self.state) };
        let Some(action) = dial.attr("action") else {
            self.heard.clear();
            return self.follow().await;
        };
        let (url, duration) = (self.resolve(Some(action)), seconds.to_string());
        let sid = format!("CA{}", uuid::Uuid::new_v4().simple());
        let mut fields = vec![("DialCallSid", sid.as_str()), ("DialCallStatus", status)];
        match status {
            "completed" => fields.extend([("DialCallDuration", duration.as_str()), ("DialBridged", "true")]),
            _ => fields.push(("DialBridged", "false")),
        }
        self.act(url, &fields).await;
    }

    /// The caller leaves a message, which `recording` is the SID of and which can be fetched at `url`.
    pub async fn leaves_message(&mut self, recording: &str, url: &str, seconds: u32) {
        let (message, action, callback) = self.message(recording, url, seconds);
        self.act(action, &pairs(&message)).await;
        self.report_recording(callback, "completed", &message).await;
    }

    /// The caller leaves a message like [`leaves_message`](Self::leaves_message) and hangs up: nothing more is heard.
    pub async fn leaves_message_and_hangs_up(&mut self, recording: &str, url: &str, seconds: u32) {
        let (mut message, action, callback) = self.message(recording, url, seconds);
        self.status = "completed";
        message.push(("Digits", "hangup".to_owned()));
        self.post(action, &pairs(&message)).await.twiml();
        self.ends(Ending::Person, "completed").await;
        message.pop();
        self.report_recording(callback, "completed", &message).await;
    }

    /// Connects to the gateway as ConversationRelay does; the session is the caller's until it ends, which
    /// [`relay_ended`](Self::relay_ended) is then told.
    pub async fn relay(&self) -> Relay {
        self.relay_of(ACCOUNT).await
    }

    /// The same, but the session says that it is of this account.
    pub async fn relay_of(&self, account: &str) -> Relay {
        let relay = self.connect().unwrap_or_else(|| panic!("no ConversationRelay: {:?}", self.state));
        Relay::open(&self.line, relay, self, account).await
    }

    /// The status that the handshake of the ConversationRelay's WebSocket gets with this signature, or with none.
    pub async fn handshake_status(&self, signature: Option<&str>) -> u16 {
        let url = self.connect().and_then(|relay| relay.attr("url")).expect("a ConversationRelay with its URL");
        self.line.handshake_status(url, signature).await
    }

    /// The same with a slash at the end of the URL, as it may be signed.
    pub async fn handshake_status_with_slash(&self, is_signed: bool) -> u16 {
        let url = self.connect().and_then(|relay| relay.attr("url")).expect("a ConversationRelay with its URL");
        let url = format!("{url}/");
        let signature = is_signed.then(|| sign(TOKEN, &self.line.signed_socket_url(&url), &[]));
        self.line.handshake_status(&url, signature.as_deref()).await
    }

    /// Goes on after the relay's session: Twilio asks the `<Connect>`'s action.
    pub async fn relay_ended(&mut self, end: SessionEnd) {
        let State::Connected(connect) = &self.state else { panic!("not connected: {:?}", self.state) };
        let action = connect.attr("action").map(|action| self.resolve(Some(action)));
        let fields = pairs(&end.fields);
        if end.is_by_person() {
            self.status = "completed";
            if let Some(url) = action {
                self.post(url, &fields).await.twiml();
            }
            return self.ends(Ending::Person, "completed").await;
        }
        match action {
            Some(url) => self.act(url, &fields).await,
            None => {
                self.heard.clear();
                self.follow().await;
            }
        }
    }

    /// The `<Gather>` that listens, if it takes this kind of input.
    fn gather_for(&self, kind: &str) -> &super::Element {
        let gather = self.gather().unwrap_or_else(|| panic!("nobody listens to the caller: {:?}", self.state));
        let takes = gather.attr("input").unwrap_or("dtmf").split(' ').any(|input| input == kind);
        assert!(takes, "the Gather does not take {kind}: {gather:?}");
        gather
    }

    /// The caller has acted: what was heard before is past.
    async fn act(&mut self, url: String, fields: &[(&str, &str)]) {
        self.heard.clear();
        self.fetch(url, fields).await;
    }

    /// The fields of a message, where Twilio asks what comes next, and where it reports that the recording is there.
    fn message(&self, sid: &str, url: &str, seconds: u32) -> (Vec<(&'static str, String)>, String, Option<String>) {
        let State::Recording(record) = &self.state else { panic!("nothing is recorded: {:?}", self.state) };
        let fields = vec![
            ("RecordingSid", sid.to_owned()),
            ("RecordingUrl", url.to_owned()),
            ("RecordingDuration", seconds.to_string()),
        ];
        (fields, self.resolve(record.attr("action")), self.recording_callback(record, "completed"))
    }

    /// Where this event of a recording is to be reported, if it is.
    fn recording_callback(&self, record: &super::Element, event: &str) -> Option<String> {
        let wanted = record.attr("recordingStatusCallbackEvent").unwrap_or("completed");
        let callback = record.attr("recordingStatusCallback").filter(|_| wanted.split(' ').any(|one| one == event));
        callback.map(|url| self.resolve(Some(url)))
    }

    async fn report_recording(&mut self, callback: Option<String>, event: &str, message: &[(&'static str, String)]) {
        let Some(url) = callback else { return };
        let mut fields = message.to_vec();
        for (name, value) in [("RecordingStatus", event), ("RecordingChannels", "1"), ("RecordingSource", "RecordVerb")]
        {
            fields.push((name, value.to_owned()));
        }
        self.report(url, &pairs(&fields)).await;
    }
}
