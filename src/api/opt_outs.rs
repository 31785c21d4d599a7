//! Who does not want to be written to.

use super::Tag;
use super::auth::Admin;
use super::outcome::Outcome;
use super::request::InQuery;
use super::values::{LARGEST, Nullable, Timestamp, Whole};
use crate::app::App;
use crate::db::opt_outs;
use crate::twilio::address::is_e164;
use poem::web::Data;
use poem_openapi::payload::{Json, PlainText};
use poem_openapi::types::{Example, ToJSON};
use poem_openapi::{ApiResponse, Object, OpenApi};
use std::sync::Arc;

/// Somebody who does not want to be written to. It stays when the user is deleted.
#[derive(Object)]
#[oai(example)]
struct OptOut {
    /// The address that is not written to, as Twilio names it.
    peer_number: String,
    /// The number of the gateway that does not write to it, or the Messaging Service (`MG…`) none of whose numbers
    /// does.
    own_number: String,
    /// Twilio's MessageSid of the text that said so; null when Twilio refused to send.
    message_sid: Nullable<String>,
    /// The words of that text, or Twilio's error code.
    evidence: Nullable<String>,
    /// When it was said.
    created_at: Timestamp,
}

impl From<opt_outs::OptOut> for OptOut {
    fn from(row: opt_outs::OptOut) -> Self {
        Self {
            peer_number: row.peer_number,
            own_number: row.own_number,
            message_sid: row.message_sid.into(),
            evidence: row.evidence.into(),
            created_at: Timestamp(row.created_at),
        }
    }
}

impl Example for OptOut {
    fn example() -> Self {
        Self {
            peer_number: "+14155550123".to_owned(),
            own_number: "+14155550100".to_owned(),
            message_sid: Some("SM00000000000000000000000000000000".to_owned()).into(),
            evidence: Some("Stop. Thank you".to_owned()).into(),
            created_at: Timestamp::EXAMPLE,
        }
    }
}

/// A table for spreadsheets.
#[derive(ApiResponse)]
enum Table {
    /// One line each, in the columns `peer_number`, `own_number`, `message_sid`, `evidence` and `created_at`.
    #[oai(status = 200, content_type = "text/csv; charset=utf-8")]
    Csv(
        PlainText<String>,
        /// The name of the file.
        #[oai(header = "Content-Disposition")]
        String,
    ),
}

/// `/opt-outs`
#[derive(Clone, Copy)]
pub(super) struct OptOutsApi;

#[OpenApi(prefix_path = "/opt-outs", tag = "Tag::Sms")]
impl OptOutsApi {
    /// List opt-outs
    ///
    /// Who told which of our numbers to stop, newest first. Nothing is sent to them from it.
    #[oai(path = "/", method = "get", operation_id = "listOptOuts")]
    async fn list(
        &self,
        _admin: Admin,
        app: Data<&Arc<App>>,
        /// How many to pass over.
        #[oai(default = "none")]
        skip: InQuery<Whole<0, LARGEST>>,
        /// How many to answer at most.
        #[oai(default = "fifty")]
        limit: InQuery<Whole<1, 500>>,
    ) -> Outcome<Json<Vec<OptOut>>> {
        let opt_outs = app.db.opt_outs(skip.0.0, limit.0.0).await?;
        Ok(Json(opt_outs.into_iter().map(OptOut::from).collect()))
    }

    /// Export opt-outs
    ///
    /// All of them as CSV, newest first. What a spreadsheet would take for a formula has an apostrophe before it.
    #[oai(path = "/export.csv", method = "get", operation_id = "exportOptOuts")]
    async fn export(&self, _admin: Admin, app: Data<&Arc<App>>) -> Outcome<Table> {
        let mut csv = "peer_number,own_number,message_sid,evidence,created_at\r\n".to_owned();
        for row in app.db.opt_outs(0, LARGEST).await? {
            let at = Timestamp(row.created_at).to_json();
            let at = at.as_ref().and_then(|at| at.as_str()).unwrap_or_default();
            let optional = [row.message_sid.as_deref(), row.evidence.as_deref()].map(Option::unwrap_or_default);
            let fields = [&row.peer_number, &row.own_number, optional[0], optional[1], at].map(csv_field);
            csv.push_str(&fields.join(","));
            csv.push_str("\r\n");
        }
        Ok(Table::Csv(PlainText(csv), "attachment; filename=\"opt-outs.csv\"".to_owned()))
    }
}

/// A field of a CSV file (RFC 4180) that no spreadsheet takes for a formula. Telephone numbers begin with a plus and
/// are none.
fn csv_field(value: &str) -> String {
    let is_formula = value.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) && !is_e164(value);
    let guard = if is_formula { "'" } else { "" };
    if value.contains(['"', ',', '\r', '\n']) {
        format!("\"{guard}{}\"", value.replace('"', "\"\""))
    } else {
        format!("{guard}{value}")
    }
}

fn none() -> Whole<0, LARGEST> {
    Whole(0)
}

fn fifty() -> Whole<1, 500> {
    Whole(50)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_is_a_formula_or_breaks_a_line() {
        for (value, field) in [
            ("+14155550123", "+14155550123"),
            ("Stop", "Stop"),
            ("=1+1", "'=1+1"),
            ("+1+cmd", "'+1+cmd"),
            ("@SUM(A1), \"x\"", "\"'@SUM(A1), \"\"x\"\"\""),
            ("Stop.\nThanks, all", "\"Stop.\nThanks, all\""),
        ] {
            assert_eq!(csv_field(value), field);
        }
    }
}
