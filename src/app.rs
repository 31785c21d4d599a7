//! What handlers can reach, put together once at the start.

use crate::clock::Clock;
use crate::config::{Config, DatabaseUrl, SpeechSource};
use crate::conversation::ConversationService;
use crate::conversation::party::Directory;
use crate::conversation::phrases::{PhraseBook, PhrasesError};
use crate::conversation::said_so_far::SaidSoFar;
use crate::conversation::turns::Turns;
use crate::db::{Db, OpenError};
use crate::llm::{Llm, SetupError};
use crate::outbox::claim::Claims;
use crate::outbox::pause::Pause;
use crate::outbox::reply::Replier;
use crate::outbox::sending::StatusCallback;
use crate::outbox::summary::Summariser;
use crate::outbox::voicemail::Voicemails;
use crate::outbox::{Outbox, Workers};
use crate::sms::SmsService;
use crate::synthesis::Synthesiser;
use crate::telemetry::Throttle;
use crate::token::Sealer;
use crate::twilio::accounts::Accounts;
use crate::twilio::twiml::{Documents, DocumentsError};
use secrecy::ExposeSecret;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Anybody can cause a refusal, so the log tells of one in this time and counts the others.
const REFUSALS_TOLD_EVERY: Duration = Duration::from_secs(5);

/// Texts whose pictures are fetched and shown to the model at the same time: 20 MB each at the most.
const PICTURES_AT_ONCE: usize = 8;
/// Recordings that are fetched and written down at the same time: 20 MB each at the most.
const RECORDINGS_AT_ONCE: usize = 4;

/// The gateway without its network side.
pub struct App {
    /// The settings.
    pub config: Config,
    /// The time.
    pub clock: Clock,
    /// Users, history, jobs.
    pub db: Db,
    /// Whose a call or text is.
    pub directory: Directory,
    /// Answers what people say.
    pub conversation: ConversationService,
    /// Decides about texts.
    pub sms: SmsService,
    /// The Twilio accounts: who may call the webhooks, and whom we may ask.
    pub accounts: Accounts,
    /// Work that must happen.
    pub outbox: Outbox,
    /// What Twilio is answered.
    pub documents: Documents,
    /// The fixed sentences.
    pub phrases: Arc<PhraseBook>,
    /// Names in URLs that nobody can make up.
    pub tokens: Sealer,
    /// The spoken turns being answered.
    pub turns: Turns,
    /// Stores what is being said on calls over ConversationRelay.
    pub said_so_far: SaidSoFar,
    /// Has words spoken by the model's voices; `None` when Twilio reads them aloud.
    pub synthesiser: Option<Synthesiser>,
    /// The ConversationRelay sessions that are open.
    pub sessions: TaskTracker,
    /// Tells them that the gateway stops.
    pub stopping: CancellationToken,
    /// Refused webhooks are logged now and then.
    pub refusals: Throttle,
    /// When it started.
    pub started: Instant,
}

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database cannot be used.
    #[error("DATABASE_URL: {0}")]
    Db(#[from] OpenError),
    /// The model's settings cannot be used.
    #[error(transparent)]
    Llm(#[from] SetupError),
    /// A TwiML document is faulty.
    #[error("TWIML_TEMPLATES_DIR: {0}")]
    Documents(#[from] DocumentsError),
    /// A file of sentences is faulty.
    #[error("TWIML_TEMPLATES_DIR: {0}")]
    Phrases(#[from] PhrasesError),
    /// The system offers no TLS.
    #[error("no client for Twilio's REST API: {0}")]
    Rest(#[from] reqwest::Error),
}

impl App {
    /// Reads the documents, opens the database and puts everything together. Nothing runs yet.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn new(config: Config, clock: Clock) -> Result<Arc<Self>, StartError> {
        let documents = Documents::load(config.twiml_templates_dir.as_deref())?;
        let phrases = Arc::new(PhraseBook::load(config.twiml_templates_dir.as_deref())?);
        let llm = Arc::new(Llm::new(&config.llm)?);
        let accounts = Accounts::new(&config.twilio, !config.auth_token_generated)?;
        let db = match &config.database {
            DatabaseUrl::Sqlite(path) => {
                let db = Db::open_sqlite(path).await?;
                // The file is ours alone, so whoever answered turns and held jobs before is gone.
                db.release_turns().await.map_err(OpenError::from)?;
                db.release_jobs(clock.now()).await.map_err(OpenError::from)?;
                db
            }
            DatabaseUrl::Postgres(url) => Db::open_postgres(url.expose_secret()).await?,
        };
        let directory = Directory::new(db.clone(), clock.clone(), &config);
        let (prompt, timeout) = (config.system_prompt.as_deref(), config.llm.timeout);
        let (sums_up, wake) = (config.voice.summaries && config.llm.is_configured(), Arc::new(Notify::new()));
        let conversation = ConversationService::new(
            db.clone(),
            llm.clone(),
            clock.clone(),
            prompt,
            &config.voice.tools,
            wake.clone(),
            timeout,
        );
        let turns = Turns::new(db.clone(), clock.clone(), conversation.clone(), sums_up);
        let said_so_far = SaidSoFar::start(db.clone());
        let speaks = config.voice.speech == SpeechSource::OpenAi && llm.can_speak();
        let synthesiser = speaks.then(|| Synthesiser::new(llm.clone()));
        let sms = SmsService::new(db.clone(), llm.clone(), clock.clone(), conversation.role(), timeout, &config.sms);
        let replier = Replier {
            db: db.clone(),
            clock: clock.clone(),
            claims: Claims::new(db.clone(), clock.clone()),
            sms: sms.clone(),
            directory: directory.clone(),
            accounts: accounts.clone(),
            vision: (config.llm.vision && config.llm.is_configured())
                .then(|| Arc::new(Semaphore::new(PICTURES_AT_ONCE))),
            wake: wake.clone(),
            pause: Pause::new(clock.clone()),
            status_callback: StatusCallback::of(&config),
            quiet_hours: config.sms.quiet_hours,
        };
        let voicemails = Voicemails {
            db: db.clone(),
            clock: clock.clone(),
            directory: directory.clone(),
            phrases: phrases.clone(),
            llm: llm.clone(),
            accounts: accounts.clone(),
            quiet_hours: config.sms.quiet_hours,
            own_numbers: config.twilio.phone_numbers.as_slice().into(),
            places: Arc::new(Semaphore::new(RECORDINGS_AT_ONCE)),
        };
        let summariser = Summariser { db: db.clone(), directory: directory.clone(), llm, timeout, is_on: sums_up };
        let outbox = Outbox::new(
            db.clone(),
            clock.clone(),
            Workers { replier, voicemails, summariser },
            wake,
            config.sms.waiting,
        );
        let tokens = Sealer::new(&config.twilio.auth_tokens);
        let started = Instant::now();
        Ok(Arc::new(Self {
            config,
            clock,
            db,
            directory,
            conversation,
            sms,
            accounts,
            outbox,
            documents,
            phrases,
            tokens,
            turns,
            said_so_far,
            synthesiser,
            sessions: TaskTracker::new(),
            stopping: CancellationToken::new(),
            refusals: Throttle::new(REFUSALS_TOLD_EVERY),
            started,
        }))
    }

    /// Finishes the turns and jobs that were begun. No webhook may come in any more, and the sessions must have been
    /// told.
    pub async fn drain(&self) {
        self.sessions.close();
        self.sessions.wait().await;
        self.said_so_far.drain().await;
        self.turns.drain().await;
        self.outbox.drain().await;
    }
}
