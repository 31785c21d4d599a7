//! Calls that the gateway places: how the person at the far end takes them, and how the gateway may change a call.

use super::{Ending, Phone};
use crate::support::app::TestApp;
use crate::support::fake_twilio::{CallUpdate, PlacedCall};
use crate::support::twiml::Twiml;

impl TestApp {
    /// The person answers a call that the gateway placed, and hears what it has to say first.
    pub async fn answers(&self, placed: &PlacedCall) -> Phone {
        self.answers_as(placed, None).await
    }

    /// Like [`answers`](Self::answers), with the `AnsweredBy` that Twilio found out before it asked what to say.
    pub async fn answers_as(&self, placed: &PlacedCall, answered_by: Option<&str>) -> Phone {
        let mut phone = self.rung_by(placed, "in-progress").await;
        phone.answered_by = answered_by.map(str::to_owned);
        phone.began = self.clock.now();
        phone.reports_if_wanted("answered", "in-progress").await;
        phone.status = "in-progress";
        phone.performs(placed.field("Url"), placed.field("Twiml")).await;
        phone
    }

    /// The call that the gateway placed ends unanswered: `busy`, `no-answer` or `failed`.
    pub async fn does_not_answer(&self, placed: &PlacedCall, status: &'static str) -> Phone {
        let mut phone = self.rung_by(placed, status).await;
        phone.ends(Ending::NotAnswered, status).await;
        phone
    }

    /// The telephone of the person whom the gateway calls: it has rung, and the call will be in this `status`.
    async fn rung_by(&self, placed: &PlacedCall, status: &str) -> Phone {
        let mut phone = self.phone(&placed.from, &placed.to).with_sid(&placed.sid);
        phone.direction = "outbound-api";
        phone.status_callback = placed.field("StatusCallback").map(str::to_owned);
        phone.machine_callback = placed.field("AsyncAmdStatusCallback").map(str::to_owned);
        // Repeated, or in one field with blanks between.
        let events = placed.fields.iter().filter(|(name, _)| name == "StatusCallbackEvent");
        phone.status_events = events.flat_map(|(_, events)| events.split(' ')).map(str::to_owned).collect();
        phone.reports_if_wanted("initiated", "initiated").await;
        phone.reports_if_wanted("ringing", "ringing").await;
        self.twilio.call_is(&placed.sid, status);
        phone
    }
}

impl Phone {
    /// Twilio has found out who answered (`human`, `machine_end_beep` …) while the call went on.
    pub async fn machine_detected(&mut self, answered_by: &str) {
        let url = self.machine_callback.clone().expect("the call was placed with an AsyncAmdStatusCallback");
        self.answered_by = Some(answered_by.to_owned());
        self.report(url, &[("MachineDetectionDuration", "3200")]).await;
    }

    /// The gateway has changed the call through the REST API: whatever it was at is left, and the new document
    /// performed.
    pub async fn follows_update(&mut self, update: &CallUpdate) {
        assert_eq!(update.sid, self.sid, "another call was changed");
        assert!(!self.has_ended(), "the call is over: {:?}", self.state);
        self.status_callback = update.field("StatusCallback").map(str::to_owned).or(self.status_callback.take());
        if matches!(update.field("Status"), Some("completed" | "canceled")) {
            return self.ends(Ending::RestApi, "completed").await;
        }
        self.heard.clear();
        self.performs(update.field("Url"), update.field("Twiml")).await;
    }

    async fn performs(&mut self, url: Option<&str>, twiml: Option<&str>) {
        match (url, twiml) {
            (Some(url), _) => self.fetch(url.to_owned(), &[]).await,
            (None, Some(twiml)) => {
                self.reads(String::new(), Twiml::voice(twiml));
                self.follow().await;
            }
            (None, None) => {}
        }
    }

    async fn reports_if_wanted(&mut self, event: &str, status: &'static str) {
        if self.status_events.iter().any(|wanted| wanted == event) {
            self.report_progress(status).await;
        }
    }
}
