//! One session: everything that happens on it, in the order it happens. One task, one loop; what takes time is waited
//! for beside the caller, who may break in at any moment.

use super::answering::Answering;
use super::hearing::Caller;
use super::line::{Line, Over};
use super::playing::{Player, Queued, next_sound};
use crate::app::App;
use crate::conversation::call::OnCall;
use crate::conversation::phrases::Phrases;
use crate::conversation::reply::Said;
use crate::conversation::speech::speaking_time;
use crate::conversation::talk::Talk;
use crate::db::relay::RelayCall;
use crate::db::turns::TurnClaim;
use crate::llm::LlmError;
use crate::twilio::relay_messages::ToTwilio;
use crate::webhooks::requests::Handoff;
use poem::web::websocket::{CloseCode, Message};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// How often a sign of life is asked for, and after how long without any frame the connection counts as lost.
const HEARTBEAT: Duration = Duration::from_secs(20);
const LIFELESS: Duration = Duration::from_secs(60);
/// How long a caller may say nothing after the last words were spoken.
const SILENCE: Duration = Duration::from_secs(10);
/// Between the last word and the end of the session; how long words take is only estimated.
const BREATH: Duration = Duration::from_millis(500);

/// A session.
pub(super) struct Session {
    pub(super) app: Arc<App>,
    /// What goes out to Twilio.
    pub(super) line: Line,
    /// Plays what is said; `None` when Twilio reads it.
    pub(super) player: Option<Box<Player>>,
    /// Whose call it is, in the language that is spoken now.
    pub(super) call: Arc<OnCall>,
    /// The number of the last turn.
    pub(super) turn: i64,
    /// Sessions of this call that were lost before and not made up for.
    pub(super) failures: i64,
    /// The turn that is being answered.
    pub(super) answering: Option<Box<Answering>>,
    /// The answer that may still be spoken, and its turn.
    pub(super) spoken: Option<(TurnClaim, Talk)>,
    /// When all words will have been spoken.
    pub(super) spoken_until: Instant,
    /// The filler that was said last.
    pub(super) filler: usize,
    /// The session ends once all words are spoken, and then this follows.
    pub(super) leaving: Option<Handoff>,
    /// Done when the session is over: a late answer is not waited for any longer.
    pub(super) gone: CancellationToken,
    /// What is known of what the caller does: keys, silences.
    pub(super) caller: Caller,
    opening: Opening,
    /// When the call has lasted as long as it may.
    time_over_at: Instant,
    /// When the next heartbeat is due.
    ping_at: Instant,
    /// When Twilio gave its last sign of life.
    pub(super) last_frame: Instant,
    /// Frames in a row that could not be read.
    pub(super) broken: u32,
}

/// How a session begins.
#[derive(Clone, Copy)]
enum Opening {
    /// The greeting, which Twilio says if it reads the words; then the caller speaks.
    Greeted,
    /// We have called, and speak first.
    SpeakFirst,
    /// The call goes on where a lost session left it.
    TakeUp,
}

/// What a session waits for.
enum Event {
    Frame(Result<Message, Over>),
    Sound(bool),
    Said(Result<Said, LlmError>),
    Time,
    Stop,
}

impl Session {
    /// A session at its beginning.
    pub(super) fn new(app: Arc<App>, line: Line, origin: String, call: OnCall, known: RelayCall) -> Self {
        let now = Instant::now();
        let lasted = u64::try_from(app.clock.now().saturating_sub(known.started_at)).unwrap_or(0);
        let left = app.config.voice.longest_call.saturating_sub(Duration::from_micros(lasted));
        let opening = match (known.last_turn, known.relay_failures) {
            (0, _) if call.purpose.is_some() => Opening::SpeakFirst,
            (0, 0) => Opening::Greeted,
            _ => Opening::TakeUp,
        };
        let player = app.synthesiser.is_some().then(|| Box::new(Player::new(origin)));
        let greeting = match opening {
            Opening::Greeted if player.is_none() => app.phrases.of(call.person().language).greeting.as_str(),
            _ => "",
        };
        Self {
            spoken_until: now + speaking_time(greeting),
            app,
            line,
            player,
            call: Arc::new(call),
            turn: known.last_turn,
            failures: known.relay_failures,
            answering: None,
            spoken: None,
            // Not the one that a lost session may have said last.
            filler: usize::try_from(known.last_turn + known.relay_failures).unwrap_or(0),
            leaving: None,
            gone: CancellationToken::new(),
            caller: Caller::new(now),
            opening,
            time_over_at: now + left,
            ping_at: now + HEARTBEAT,
            last_frame: now,
            broken: 0,
        }
    }

    /// Talks until the session is over.
    pub(super) async fn talk(&mut self) -> Over {
        // A token of the session's own, so that sessions do not wait for each other to look at it.
        let stopping = self.app.stopping.child_token();
        let begun = match self.opening {
            Opening::Greeted if self.player.is_some() => self.say_fixed(|phrases| &phrases.greeting).await,
            Opening::Greeted => Ok(()),
            Opening::SpeakFirst => self.answer_or_apologise("", false).await,
            Opening::TakeUp => self.take_up().await,
        };
        if let Err(over) = begun {
            return over;
        }
        let (mut stop, mut timer) = (pin!(stopping.cancelled()), pin!(sleep_until(self.due())));
        loop {
            let event = tokio::select! {
                biased;
                frame = self.line.next() => Event::Frame(frame),
                is_there = next_sound(&mut self.player) => Event::Sound(is_there),
                said = next_said(&mut self.answering) => Event::Said(said),
                () = timer.as_mut() => Event::Time,
                () = stop.as_mut() => Event::Stop,
            };
            let happened = match event {
                Event::Frame(Ok(frame)) => self.on_frame(frame).await,
                Event::Frame(Err(over)) => Err(over),
                Event::Sound(is_there) => self.on_sound(is_there).await,
                Event::Said(said) => self.take(said).await,
                Event::Time => self.on_time(Instant::now()).await,
                Event::Stop => self.on_stop().await,
            };
            if let Err(over) = happened {
                return over;
            }
            // Mostly what is due is put off; the timer is only set when it must, which is not at every word.
            let due = self.due();
            if due < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(due);
            }
        }
    }

    /// What is due next.
    fn due(&self) -> Instant {
        if self.leaving.is_some() {
            return self.leaving_at().min(self.ping_at);
        }
        let next = match &self.answering {
            Some(answering) => answering.due(),
            None => self.silent_at(),
        };
        let due = next.min(self.ping_at).min(self.time_over_at);
        self.caller.keys_at.map_or(due, |at| at.min(due))
    }

    /// When the caller will have been silent for too long.
    fn silent_at(&self) -> Instant {
        self.spoken_until.max(self.caller.heard_at) + SILENCE
    }

    /// Does one thing that is due, if anything is.
    async fn on_time(&mut self, now: Instant) -> Result<(), Over> {
        if self.ping_at <= now {
            self.ping_at = now + HEARTBEAT;
            if now - self.last_frame >= LIFELESS {
                return Err(Over::Gone);
            }
            return self.line.ping().await;
        }
        if let Some(handoff) = self.leaving {
            return if self.leaving_at() > now { Ok(()) } else { self.hand_off(handoff).await };
        }
        if self.time_over_at <= now {
            self.cut_short().await?;
            return self.say_and_leave(|phrases| &phrases.time_over, Handoff::TimeOver).await;
        }
        if self.caller.keys_at.is_some_and(|at| at <= now) {
            return self.on_keys().await;
        }
        let is_silent = self.silent_at() <= now;
        match &mut self.answering {
            Some(answering) if answering.late_at <= now => self.give_up_waiting().await,
            Some(answering) if answering.filler_at <= now => self.say_filler().await,
            Some(answering) if answering.save_at.is_some_and(|at| at <= now) => {
                answering.save(&self.app.said_so_far);
                Ok(())
            }
            None if is_silent => self.on_silence().await,
            _ => Ok(()),
        }
    }

    /// The gateway stops: what was to follow follows at once, and otherwise the call is left to the next session.
    async fn on_stop(&mut self) -> Result<(), Over> {
        match self.leaving {
            Some(handoff) => self.hand_off(handoff).await,
            None => Err(Over::Closed(CloseCode::Restart, "the gateway stops")),
        }
    }

    async fn hand_off(&mut self, handoff: Handoff) -> Result<(), Over> {
        self.line.send(&ToTwilio::End { handoff_data: &handoff.to_json() }).await?;
        Err(Over::Ended)
    }

    /// Nothing was said for too long: asked once more, and after a second silence in a row bid goodbye.
    async fn on_silence(&mut self) -> Result<(), Over> {
        self.caller.silences += 1;
        let again = self.caller.silences > 1;
        info!(call.sid = self.call.call_sid, turn = self.turn, again, "The caller said nothing");
        if again {
            return self.say_and_leave(|phrases| &phrases.goodbye, Handoff::Goodbye).await;
        }
        self.say_fixed(|phrases| &phrases.did_not_hear).await
    }

    /// Says fixed words that are no answer.
    pub(super) async fn say_fixed(&mut self, words: impl FnOnce(&Phrases) -> &String) -> Result<(), Over> {
        let app = self.app.clone();
        self.spoken = None;
        self.say_phrase(words(app.phrases.of(self.call.person().language))).await
    }

    /// Says a fixed sentence.
    pub(super) async fn say_phrase(&mut self, words: &str) -> Result<(), Over> {
        match self.player {
            Some(_) => self.queue(Queued::Fixed { words: words.to_owned(), last: true }).await,
            None => self.say(words, true).await,
        }
    }

    /// Says fixed words, and then the session is over.
    pub(super) async fn say_and_leave(
        &mut self,
        words: impl FnOnce(&Phrases) -> &String,
        then: Handoff,
    ) -> Result<(), Over> {
        self.say_fixed(words).await?;
        self.leaving = Some(then);
        Ok(())
    }

    /// Sends words that Twilio is to read; `last` says that there is no more to come.
    pub(super) async fn say(&mut self, token: &str, last: bool) -> Result<(), Over> {
        self.line.send(&ToTwilio::Text { token, last }).await?;
        self.spoken_until = self.spoken_until.max(Instant::now()) + speaking_time(token);
        Ok(())
    }

    /// When all words will have been spoken, and the session may end.
    fn leaving_at(&self) -> Instant {
        let is_busy = self.player.as_ref().is_some_and(|player| player.is_busy());
        let words_over = if is_busy { self.spoken_until.max(Instant::now()) } else { self.spoken_until };
        words_over + BREATH
    }
}

/// What comes next of the answer that is being given.
async fn next_said(answering: &mut Option<Box<Answering>>) -> Result<Said, LlmError> {
    match answering {
        Some(answering) => answering.reply.next().await,
        None => std::future::pending().await,
    }
}
