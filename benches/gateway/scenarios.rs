//! The kinds of webhook that are measured, and the answer each must get.

use crate::common::connection::Message;
use crate::common::form::{self, Pairs};
use crate::common::server::Server;
use crate::common::text::text;
use crate::model;

/// One kind of webhook.
pub struct Scenario {
    /// In the table.
    pub name: &'static str,
    path: &'static str,
    /// Makes the form with this number.
    pairs: fn(usize) -> Pairs,
    forged: bool,
    status: u16,
    /// What the answer's body must hold, each of them; nothing means that it must be empty.
    holds: &'static [&'static str],
    /// Requests signed before the clock starts; each is sent once at most.
    pool: usize,
}

/// In the order in which they are measured.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "signed texts, answered by the model",
        path: "/twilio/sms",
        pairs: text,
        forged: false,
        status: 200,
        holds: &["<Message", model::REPLY],
        pool: 40_000,
    },
    Scenario {
        name: "status callbacks",
        path: "/twilio/voice/status",
        pairs: |number| {
            let end = [("CallStatus", "completed"), ("CallDuration", "17"), ("Duration", "1"), ("SequenceNumber", "3")];
            form::call(number, &end)
        },
        forged: false,
        status: 204,
        holds: &[],
        pool: 90_000,
    },
    Scenario {
        name: "forged texts, refused",
        path: "/twilio/sms",
        pairs: text,
        forged: true,
        status: 403,
        holds: &[],
        pool: 180_000,
    },
    Scenario {
        name: "incoming calls, greeted",
        path: "/twilio/voice",
        pairs: |number| form::call(number, &[("CallStatus", "ringing")]),
        forged: false,
        status: 200,
        holds: &["<Gather", "<Say"],
        pool: 70_000,
    },
    Scenario {
        name: "spoken turns, answered by the model",
        path: "/twilio/voice/turns/1",
        pairs: |number| {
            let said = [
                ("CallStatus", "in-progress"),
                ("SpeechResult", "What is the capital of France?"),
                ("Confidence", "0.93287"),
                ("Language", "en-US"),
            ];
            form::call(number, &said)
        },
        forged: false,
        status: 200,
        holds: &["<Gather", model::ANSWER],
        pool: 40_000,
    },
];

impl Scenario {
    /// The requests as they go over the wire, each with ids and a sender of its own.
    pub fn requests(&self, server: &Server) -> Vec<Vec<u8>> {
        let place = ALL.iter().position(|scenario| scenario.name == self.name).unwrap_or_default();
        let first = place * 1_000_000;
        (first..first + self.pool).map(|number| self.request(number, server)).collect()
    }

    fn request(&self, number: usize, server: &Server) -> Vec<u8> {
        // A forger knows everything but the token: the signature is one of another address.
        let signed = if self.forged { "https://elsewhere.example" } else { &server.base_url };
        form::webhook(server.address, self.path, &format!("{signed}{}", self.path), &(self.pairs)(number))
    }

    /// Whether this is the answer that one of these requests must get.
    pub fn is_right(&self, answer: &Message<'_>) -> bool {
        let Ok(body) = std::str::from_utf8(answer.body) else { return false };
        answer.status() == Some(self.status)
            && self.holds.iter().all(|part| body.contains(part))
            && body.is_empty() == self.holds.is_empty()
    }
}
