//! Who is on the telephone, and to whom they may be connected.

use super::in_time::Trouble;
use super::requests::CallRequest;
use crate::app::App;
use crate::conversation::call::OnCall;
use crate::conversation::party::Party;
use crate::db::DbError;
use crate::twilio::address::Address;
use std::sync::Arc;

/// Who is on the telephone; `None` when it is nobody's call and strangers are refused, and when we placed it and whom
/// we called was deleted since.
pub(super) async fn on_call(app: &App, call: &CallRequest) -> Result<Option<OnCall>, DbError> {
    let (person, us) = call.person_and_us();
    let (party, purpose) = if call.is_ours() {
        // Whom we called is known; the number may be another user's, too.
        let Some(placed) = app.db.placed_call(&call.call_sid).await? else { return Ok(None) };
        let person = app.directory.person(placed.user_id).await?;
        (person.map(|person| Party { person: Arc::new(person), peer: String::new() }), Some(placed.purpose))
    } else {
        (app.directory.party(&Address::parse(person), &Address::parse(us), &call.call_sid).await?, None)
    };
    let account = app.accounts.of(call.account, us);
    let messaging_service_sid = account.and_then(|account| account.messaging_service_sid.clone());
    Ok(party.map(|party| OnCall {
        account_sid: call.account,
        messaging_service_sid,
        call_sid: call.call_sid.clone(),
        transfer_to: transfer_number(app, &party, person, us),
        party,
        caller: person.to_owned(),
        ours: us.to_owned(),
        purpose,
    }))
}

/// Whom a caller may be connected to: the number of the preferences, else the operator's; never one of ours, configured
/// or only called, which would call ourselves, and never the caller's own.
fn transfer_number(app: &App, party: &Party, caller: &str, us: &str) -> Option<String> {
    let on_the_line = [caller, us].map(|address| Address::parse(address).number);
    let is_free = |number: &&String| !app.directory.is_own(number) && !on_the_line.contains(&Some(number.as_str()));
    let numbers = [&party.person.forward_number, &app.config.voice.transfer_number];
    numbers.into_iter().flatten().find(is_free).cloned()
}

/// Who is on the telephone, in the language that is spoken now.
pub(super) async fn in_its_language(app: &App, call: &CallRequest) -> Result<Option<OnCall>, Trouble> {
    let Some(on_call) = on_call(app, call).await? else { return Ok(None) };
    let language = app.db.call_state(&call.call_sid).await?.and_then(|state| state.language);
    Ok(Some(on_call.in_language(language.as_deref())))
}
