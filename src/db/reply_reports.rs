//! What Twilio reports of replies.

use super::messages::reply_status;
use super::opt_outs::heed_refusal;
use super::sending::{LOCK_TEXT, WHOLE};
use super::{Db, DbError, unit};
use crate::clock::Micros;
use crate::config::AccountSid;
use sqlx::FromRow;

/// What Twilio reports of a reply.
#[derive(Debug, Clone)]
pub struct ReplyReport {
    /// The account it is of, whose replies alone it may be about; none when nobody tells.
    pub account_sid: Option<AccountSid>,
    /// Its id.
    pub reply_sid: String,
    /// Who sent it: our address.
    pub from: String,
    /// Who gets it.
    pub to: String,
    /// Twilio's status.
    pub status: String,
    /// Twilio's error code when it failed.
    pub error_code: Option<i64>,
    /// The job that sent it and the message's position in the reply (see [`WHOLE`]), if the report names them.
    pub job: Option<(i64, i64)>,
}

/// The message with the sid `$1`.
macro_rules! with_sid {
    () => {
        "SELECT id AS text_id, 0 AS position, reply_status AS status, reply_sid AS sid FROM sms_logs WHERE reply_sid = $1 \
         UNION ALL SELECT text_id, position, status, sid FROM reply_parts WHERE sid = $1 "
    };
}

/// The messages whose sending was begun and whose sid is not known.
macro_rules! on_its_way {
    () => {
        "UNION ALL SELECT id, COALESCE(position, 0), reply_status, sid FROM sms_logs \
         LEFT JOIN reply_parts ON text_id = id AND status = 'sending' AND sid IS NULL \
         WHERE reply_status = 'sending' AND reply_sid IS NULL AND send_started_at IS NOT NULL "
    };
}

/// Those of the messages found that are of the account `$4`, as far as both are known.
macro_rules! of_account {
    () => {
        ") AS found JOIN sms_logs ON sms_logs.id = found.text_id \
         AND COALESCE(sms_logs.account_sid = $4, TRUE)"
    };
}

/// Where a message stands that a report may be about: the whole reply to a text, or the part of one at this position.
#[derive(FromRow)]
struct Standing {
    text_id: i64,
    position: i64,
    status: String,
    sid: Option<String>,
}

/// The message with this sid, or the one of this job at this position whose sid is not known yet.
const BY_JOB: &str = concat!(
    "SELECT found.* FROM (",
    with_sid!(),
    "UNION ALL SELECT id, 0, reply_status, reply_sid FROM sms_logs \
     WHERE $3 = 0 AND job_id = $2 AND reply_sid IS NULL AND reply_status IS NOT NULL \
     UNION ALL SELECT text_id, position, status, sid FROM sms_logs JOIN reply_parts ON text_id = id \
     WHERE job_id = $2 AND position = $3 AND sid IS NULL",
    of_account!()
);
/// The message with this sid, or those on their way between these addresses; a Messaging Service chooses ours.
const BY_ADDRESSES: &str = concat!(
    "SELECT found.* FROM (",
    with_sid!(),
    on_its_way!(),
    "AND from_number = $2 AND to_number = $3 AND direction = 'inbound' ",
    on_its_way!(),
    "AND to_number = $2 AND direction = 'outbound' AND (from_number = $3 OR messaging_service_sid IS NOT NULL)",
    of_account!()
);

impl Db {
    /// Writes what Twilio reports of a reply. Reports may come twice and in any order: one that is behind what is known
    /// already changes nothing. One may even come before Twilio's answer to the request that sent the reply, and of a
    /// reply in TwiML there is no such answer: the job tells whose report it is, or without one the addresses, if only
    /// one reply is on its way between them. A reply of several messages stands where the worst of them does. Answers
    /// which message it is about: the text and the position (see [`WHOLE`]) in its reply; none when it is no reply of
    /// ours. A sid that is known already stays where it is, whatever job the report names, so that no two messages ever
    /// have the same one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record_reply_status(&self, now: Micros, report: ReplyReport) -> Result<Option<(i64, i64)>, DbError> {
        match self.try_to_record(now, report.clone()).await {
            // Another message has got the sid in this moment: now it is known whose it is.
            Err(DbError::Taken { .. }) => self.try_to_record(now, report).await,
            recorded => recorded,
        }
    }

    async fn try_to_record(&self, now: Micros, report: ReplyReport) -> Result<Option<(i64, i64)>, DbError> {
        unit!(self, [report], |c| {
            // The status may change between reading and writing it; then it is read again.
            let account = report.account_sid.map(|sid| sid.to_string());
            for _ in 0..3 {
                let query = match report.job {
                    Some((job_id, position)) => {
                        sqlx::query_as(BY_JOB).bind(&report.reply_sid).bind(job_id).bind(position)
                    }
                    None => sqlx::query_as(BY_ADDRESSES).bind(&report.reply_sid).bind(&report.to).bind(&report.from),
                };
                let found: Vec<Standing> = query.bind(&account).fetch_all(&mut *c).await?;
                let by_sid = found.iter().find(|message| message.sid.is_some());
                let alone = found.first().filter(|_| found.len() == 1);
                let Some(known) = by_sid.or(alone) else { return Ok(None) };
                let is_about = (known.text_id, known.position);
                if known.sid.is_some() && rank(&report.status) <= rank(&known.status) {
                    return Ok(Some(is_about));
                }
                let is_part = known.position != WHOLE;
                if is_part {
                    sqlx::query(LOCK_TEXT).bind(known.text_id).execute(&mut *c).await?;
                }
                let text = if is_part { TELL_OF_PART } else { TELL_OF_WHOLE };
                let changed = sqlx::query(text)
                    .bind(known.text_id)
                    .bind(&report.reply_sid)
                    .bind(&report.status)
                    .bind(report.error_code)
                    .bind(&known.status)
                    .bind(known.position)
                    .execute(&mut *c)
                    .await?
                    .rows_affected();
                if changed == 0 {
                    continue;
                }
                heed_refusal!(c, now, known.text_id, report.error_code);
                if is_part {
                    let text = "SELECT status, sid, error_code FROM reply_parts WHERE text_id = $1 ORDER BY position";
                    let parts: Vec<PartStanding> = sqlx::query_as(text).bind(known.text_id).fetch_all(&mut *c).await?;
                    if let Some((status, _, error_code)) = parts.into_iter().min_by_key(progress) {
                        // With its sid known the message is under way no longer, and the next one not yet.
                        sqlx::query(
                            "UPDATE sms_logs SET reply_status = $2, error_code = $3, \
                             send_started_at = CASE WHEN $4 THEN NULL ELSE send_started_at END WHERE id = $1",
                        )
                        .bind(known.text_id)
                        .bind(status)
                        .bind(error_code)
                        .bind(known.sid.is_none())
                        .execute(&mut *c)
                        .await?;
                    }
                }
                return Ok(Some(is_about));
            }
            Err(DbError::stopped())
        })
    }
}

/// The report's words for the only message of a reply, or for one of several: those with the status `$5`, and the
/// report's sid if they have one.
const TELL_OF_WHOLE: &str = "UPDATE sms_logs SET reply_sid = $2, reply_status = $3, error_code = COALESCE($4, error_code) \
     WHERE id = $1 AND $6 = 0 AND reply_status = $5 AND (reply_sid IS NULL OR reply_sid = $2)";
const TELL_OF_PART: &str = "UPDATE reply_parts SET sid = $2, status = $3, error_code = COALESCE($4, error_code) \
     WHERE text_id = $1 AND position = $6 AND status = $5 AND (sid IS NULL OR sid = $2)";

/// A part's status, sid and error code.
type PartStanding = (String, Option<String>, Option<i64>);

/// How far a part has got; what failed or was canceled is behind all others.
fn progress((status, sid, _): &PartStanding) -> i64 {
    match status.as_str() {
        reply_status::FAILED | "undelivered" => -2,
        reply_status::CANCELED => -1,
        status => sid.as_ref().map_or(0, |_| 1 + rank(status)),
    }
}

/// How late a status is in a message's life. `read` is later than `delivered`; nothing follows the other ends.
fn rank(status: &str) -> i64 {
    match status {
        "accepted" | "scheduled" | "queued" => 1,
        reply_status::SENDING => 2,
        "sent" => 3,
        "delivered" | "partially_delivered" => 5,
        "read" | "undelivered" | reply_status::FAILED | "canceled" => 6,
        _ => 0,
    }
}
