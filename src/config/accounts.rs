//! `TWILIO_ACCOUNTS`: the accounts that are served beside the main one. No fault quotes what is given: there are tokens
//! in it.

use super::AccountSid;
use super::env::Read;
use super::values;
use secrecy::SecretString;
use serde::Deserialize;
use std::collections::HashSet;

/// A Twilio account beside the main one.
#[derive(Debug, Clone)]
pub struct AccountConfig {
    /// Its SID.
    pub account_sid: AccountSid,
    /// As `auth_tokens` of the main account.
    pub auth_tokens: Vec<SecretString>,
    /// `MG…`: what the texts that we begin are sent through.
    pub messaging_service_sid: Option<String>,
    /// Its numbers in E.164 form.
    pub numbers: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    account_sid: Option<String>,
    auth_token: Option<String>,
    messaging_service_sid: Option<String>,
    #[serde(default)]
    numbers: Vec<String>,
}

/// Reads a JSON list, or the file that holds one.
pub(super) fn read(text: &str) -> Read<Vec<AccountConfig>> {
    if text.starts_with('[') {
        return parse(text);
    }
    let content = std::fs::read_to_string(text)
        .map_err(|error| format!("must be a JSON list, or the path of a file with one ({error})"))?;
    parse(&content)
}

fn parse(text: &str) -> Read<Vec<AccountConfig>> {
    let entries: Vec<Entry> = serde_json::from_str(text).map_err(|error| {
        format!(
            "must be a JSON list of objects with account_sid, auth_token and, if wanted, messaging_service_sid and numbers \
             (it is not at line {}, column {})",
            error.line(),
            error.column()
        )
    })?;
    let numbered = entries.into_iter().zip(1..);
    numbered.map(|(entry, n)| entry.read().map_err(|problem| format!("{problem} (entry {n})"))).collect()
}

impl Entry {
    fn read(self) -> Read<AccountConfig> {
        let of = |field: &'static str| move |problem: String| format!("{field} {problem}");
        let sid = self.account_sid.unwrap_or_default();
        let token = self.auth_token.unwrap_or_default();
        let service = self.messaging_service_sid.filter(|sid| !sid.is_empty());
        let numbers = self.numbers.iter().map(|number| values::phone_number(number));
        Ok(AccountConfig {
            account_sid: values::account_sid(&sid).map_err(of("account_sid"))?,
            auth_tokens: values::auth_tokens(&token).map_err(of("auth_token"))?,
            messaging_service_sid: service
                .map(|sid| values::messaging_service_sid(&sid))
                .transpose()
                .map_err(of("messaging_service_sid"))?,
            numbers: numbers.collect::<Read<_>>().map_err(of("numbers"))?,
        })
    }
}

/// What is wrong with the accounts beside each other and the main one, if anything.
pub(super) fn contradiction(
    main: Option<AccountSid>,
    main_numbers: &[String],
    others: &[AccountConfig],
) -> Option<&'static str> {
    let mut accounts = HashSet::from([main]);
    if !others.iter().all(|account| accounts.insert(Some(account.account_sid))) {
        return Some("must name each account once, and not the one of TWILIO_ACCOUNT_SID");
    }
    let mut numbers: HashSet<&String> = main_numbers.iter().collect();
    for account in others {
        if account.numbers.iter().any(|number| numbers.contains(number)) {
            return Some("must not give an account a number that another one has");
        }
        numbers.extend(&account.numbers);
    }
    None
}
