-- What texts need to be answered exactly once, in order, and within the rules.

-- account_sid is the Twilio account that a text or call belongs to, when several are configured. job_id is the job that
-- answered it, which Twilio's reports name. Texts that are answered together point at the last of them, whose reply is theirs
-- (answered_with). The reason tells why a text was decided so, or why it is not
-- answered; the confidence (0 to 1) is the model's in its decision. An unsolicited text is one
-- that its receiver did not ask for. Segments, their encoding (gsm7 or ucs2) and what they cost by SMS_SEGMENT_PRICE are those of the reply.
ALTER TABLE sms_logs ADD COLUMN account_sid TEXT;
ALTER TABLE sms_logs ADD COLUMN job_id BIGINT;
ALTER TABLE sms_logs ADD COLUMN answered_with BIGINT;
ALTER TABLE sms_logs ADD COLUMN segments BIGINT;
ALTER TABLE sms_logs ADD COLUMN encoding TEXT;
ALTER TABLE sms_logs ADD COLUMN cost_estimate DOUBLE PRECISION;
ALTER TABLE sms_logs ADD COLUMN confidence DOUBLE PRECISION;
ALTER TABLE sms_logs ADD COLUMN reason TEXT;
ALTER TABLE sms_logs ADD COLUMN unsolicited BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE sms_logs ADD COLUMN messaging_service_sid TEXT;
ALTER TABLE sms_logs ADD COLUMN profile_name TEXT;
CREATE INDEX sms_logs_by_job ON sms_logs (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX sms_logs_drafts ON sms_logs (user_id, id) WHERE reply_status = 'draft';
CREATE INDEX sms_logs_unreported ON sms_logs (decided_at) WHERE reply_status = 'answered' AND reply_sid IS NULL;
CREATE INDEX sms_logs_whatsapp ON sms_logs (from_number, to_number, created_at) WHERE channel = 'whatsapp' AND direction = 'inbound';
CREATE INDEX sms_logs_by_service ON sms_logs (messaging_service_sid, to_number) WHERE messaging_service_sid IS NOT NULL AND direction = 'inbound';
CREATE INDEX sms_logs_by_answer ON sms_logs (answered_with) WHERE answered_with IS NOT NULL;

-- The messages of a reply that takes several, in the order in which they are sent: the first without a sid is next. The
-- text's row keeps the whole reply, shows where it stands, and tells when the message that is under way was begun.
CREATE TABLE reply_parts (
    text_id BIGINT NOT NULL REFERENCES sms_logs (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    body TEXT NOT NULL,
    status TEXT NOT NULL,
    sid TEXT,
    error_code BIGINT,
    PRIMARY KEY (text_id, position)
);
CREATE UNIQUE INDEX reply_parts_by_sid ON reply_parts (sid) WHERE sid IS NOT NULL;

ALTER TABLE call_logs ADD COLUMN account_sid TEXT;

-- The jobs of one lane are done one after the other, in the order of their ids. A claimed job is being worked on until run_at.
-- tried_since is when its patience began: when it was first claimed, or anew.
ALTER TABLE jobs ADD COLUMN lane TEXT;
ALTER TABLE jobs ADD COLUMN claimed BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE jobs ADD COLUMN tried_since BIGINT;
CREATE INDEX jobs_by_lane ON jobs (lane, id) WHERE gave_up_at IS NULL AND lane IS NOT NULL;
DROP INDEX jobs_due;
CREATE INDEX jobs_due ON jobs (run_at, id) WHERE gave_up_at IS NULL;

-- What the opt-out was taken from: the words of the text, or Twilio's error code; and the Messaging Service that the number is in,
-- for a START to any number of the service takes back the opt-outs from all of them.
ALTER TABLE opt_outs ADD COLUMN evidence TEXT;
ALTER TABLE opt_outs ADD COLUMN messaging_service_sid TEXT;

-- An IANA name, Europe/Berlin for one.
ALTER TABLE user_preferences ADD COLUMN time_zone TEXT;
