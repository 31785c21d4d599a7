//! The Twilio accounts that are served: what the webhooks of each are signed with, and how each is asked.

use super::address::Address;
use super::rest::Rest;
use super::signature::Verifier;
use crate::config::{AccountSid, TwilioConfig};
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;
use std::sync::Arc;

/// The accounts. Cheap to clone.
#[derive(Clone)]
pub struct Accounts(Arc<Served>);

struct Served {
    main: Account,
    others: HashMap<AccountSid, Account>,
}

/// One account.
pub struct Account {
    /// Its SID; none when the operator names none, so that any account will do.
    pub sid: Option<AccountSid>,
    /// Who may call webhooks in its name.
    pub verifier: Verifier,
    /// Its REST API; none without SID or token.
    pub rest: Option<Rest>,
    /// What the texts that we begin are sent through, or none.
    pub messaging_service_sid: Option<Arc<str>>,
    numbers: Vec<String>,
}

impl Account {
    /// Whether a webhook that names this AccountSid is the account's.
    pub fn is(&self, named: Option<AccountSid>) -> bool {
        self.sid.is_none() || self.sid == named
    }
}

impl Accounts {
    /// The configured accounts. `can_ask` says that the main account's token is a real one.
    ///
    /// # Errors
    /// When the system offers no TLS.
    pub fn new(config: &TwilioConfig, can_ask: bool) -> Result<Self, reqwest::Error> {
        let http = Rest::client()?;
        let rest = |sid, tokens: &[SecretString]| {
            tokens.first().map(|token| Rest::new(http.clone(), &config.api_base_url, sid, token))
        };
        let verifier = |tokens: &[SecretString]| Verifier::new(tokens.iter().map(ExposeSecret::expose_secret));
        let main = Account {
            sid: config.account_sid,
            verifier: verifier(&config.auth_tokens),
            rest: config.account_sid.filter(|_| can_ask).and_then(|sid| rest(sid, &config.auth_tokens)),
            messaging_service_sid: config.messaging_service_sid.as_deref().map(Arc::from),
            numbers: Vec::new(),
        };
        let others = config.accounts.iter().map(|other| {
            let account = Account {
                sid: Some(other.account_sid),
                verifier: verifier(&other.auth_tokens),
                rest: rest(other.account_sid, &other.auth_tokens),
                messaging_service_sid: other.messaging_service_sid.as_deref().map(Arc::from),
                numbers: other.numbers.clone(),
            };
            (other.account_sid, account)
        });
        Ok(Self(Arc::new(Served { main, others: others.collect() })))
    }

    /// The account that a webhook claims to be of, which only its signature proves; the main one when it names none of
    /// ours.
    pub fn claimed(&self, named: Option<AccountSid>) -> &Account {
        named.and_then(|sid| self.0.others.get(&sid)).unwrap_or(&self.0.main)
    }

    /// The account of what was written down with this AccountSid; without one, the account of our address. `None` when
    /// it is served no longer.
    pub fn of(&self, sid: Option<AccountSid>, ours: &str) -> Option<&Account> {
        match sid {
            None => Some(self.of_number(ours)),
            Some(_) => Some(self.claimed(sid)).filter(|account| account.is(sid)),
        }
    }

    /// The account that an address of ours is in: the main one, unless another has its number.
    pub fn of_number(&self, ours: &str) -> &Account {
        let number = Address::parse(ours).number.unwrap_or(ours);
        let has_it = |account: &&Account| account.numbers.iter().any(|own| own == number);
        self.0.others.values().find(has_it).unwrap_or(&self.0.main)
    }

    /// Whether there are several, so that one might name what is another's.
    pub fn are_several(&self) -> bool {
        !self.0.others.is_empty()
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Account> {
        std::iter::once(&self.0.main).chain(self.0.others.values())
    }
}
