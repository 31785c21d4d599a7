-- The same tables and columns as migrations/postgres; a test compares the two.
-- Times are unix microseconds. Ids are never used again, so that a late write cannot hit another row.

CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    username TEXT NOT NULL UNIQUE,
    email TEXT UNIQUE,
    phone_number TEXT UNIQUE,
    is_active BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE user_preferences (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id BIGINT NOT NULL UNIQUE REFERENCES users (id) ON DELETE CASCADE,
    language TEXT NOT NULL,
    tts_voice TEXT NOT NULL,
    auto_reply_enabled BOOLEAN NOT NULL,
    conversation_timeout BIGINT NOT NULL,
    notifications_enabled BOOLEAN NOT NULL,
    forward_number TEXT,
    voice_transport TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- A call may be heard of first through a status callback, so its user may be filled in later. The language is the one
-- spoken when it is no longer the user's own; the requests are a JSON list. relay_failures counts the ConversationRelay
-- sessions lost since one answered a turn, relay_session is the one counted last.
CREATE TABLE call_logs (
    id INTEGER PRIMARY KEY,
    user_id BIGINT REFERENCES users (id) ON DELETE CASCADE,
    call_sid TEXT NOT NULL UNIQUE,
    direction TEXT NOT NULL,
    from_number TEXT NOT NULL,
    to_number TEXT NOT NULL,
    status TEXT NOT NULL,
    status_rank BIGINT NOT NULL,
    duration_seconds BIGINT,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    language TEXT,
    purpose TEXT,
    answered_by TEXT,
    relay_failures BIGINT NOT NULL DEFAULT 0,
    relay_session TEXT,
    summary TEXT,
    requests TEXT,
    created_at BIGINT NOT NULL
);
CREATE INDEX call_logs_by_user ON call_logs (user_id, id);
CREATE INDEX call_logs_open ON call_logs (created_at) WHERE ended_at IS NULL;

-- What a caller left after the beep. It may be heard of before its call is.
CREATE TABLE voicemails (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id BIGINT REFERENCES users (id) ON DELETE CASCADE,
    call_sid TEXT NOT NULL,
    recording_sid TEXT NOT NULL UNIQUE,
    recording_url TEXT NOT NULL,
    duration_seconds BIGINT,
    transcript TEXT,
    created_at BIGINT NOT NULL
);
CREATE INDEX voicemails_by_call ON voicemails (call_sid);
CREATE INDEX voicemails_by_user ON voicemails (user_id);

-- One turn: what was said and what was answered. An unanswered turn has no gpt_response. While an answer is written its
-- sentences are here (a JSON list), and its lease, by the database's clock; a write under an older attempt than the row's
-- matches no row. heard_text is what reached the person when it was not all; late says that an apology was heard instead.
-- The action is what follows the answer: end_call or transfer.
CREATE TABLE conversation_logs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    peer TEXT NOT NULL,
    channel TEXT NOT NULL,
    call_sid TEXT,
    turn BIGINT,
    input_text TEXT NOT NULL,
    gpt_response TEXT,
    failed BOOLEAN NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    processing_time_ms DOUBLE PRECISION NOT NULL,
    model_used TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    answered_at BIGINT,
    attempt BIGINT NOT NULL DEFAULT 1,
    lease_until BIGINT,
    sentences TEXT NOT NULL DEFAULT '[]',
    heard_text TEXT,
    late BOOLEAN NOT NULL DEFAULT FALSE,
    action TEXT,
    UNIQUE (call_sid, turn)
);
CREATE INDEX conversation_logs_by_thread ON conversation_logs (user_id, peer, id);
CREATE INDEX conversation_logs_by_user ON conversation_logs (user_id, id);
CREATE INDEX conversation_logs_open ON conversation_logs (created_at) WHERE answered_at IS NULL AND NOT failed;

-- What Twilio was answered for a turn or a part of it, byte for byte, so that a redelivery hears the same; how many of the
-- answer's sentences were told with it and before; and which filler was said, if one was.
CREATE TABLE voice_answers (
    call_sid TEXT NOT NULL,
    turn BIGINT NOT NULL,
    part BIGINT NOT NULL,
    user_id BIGINT REFERENCES users (id) ON DELETE CASCADE,
    silent BOOLEAN NOT NULL,
    told BIGINT NOT NULL DEFAULT 0,
    filler BIGINT,
    twiml TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (call_sid, turn, part)
);
CREATE INDEX voice_answers_by_age ON voice_answers (created_at);
CREATE INDEX voice_answers_by_user ON voice_answers (user_id);

CREATE TABLE sms_logs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id BIGINT REFERENCES users (id) ON DELETE CASCADE,
    peer TEXT NOT NULL,
    message_sid TEXT UNIQUE,
    channel TEXT NOT NULL,
    direction TEXT NOT NULL,
    from_number TEXT,
    to_number TEXT,
    incoming_text TEXT NOT NULL,
    media TEXT,
    decision TEXT,
    reply_text TEXT,
    reply_status TEXT,
    reply_sid TEXT,
    error_code BIGINT,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    decided_at BIGINT,
    send_started_at BIGINT
);
CREATE INDEX sms_logs_by_thread ON sms_logs (user_id, peer, id);
CREATE INDEX sms_logs_by_user ON sms_logs (user_id, id);
CREATE UNIQUE INDEX sms_logs_by_reply ON sms_logs (reply_sid) WHERE reply_sid IS NOT NULL;
CREATE INDEX sms_logs_sending ON sms_logs (from_number, to_number) WHERE reply_status = 'sending';

-- Who may not be written to: the other side's address and our number. Survives the deletion of the user.
CREATE TABLE opt_outs (
    peer_number TEXT NOT NULL,
    own_number TEXT NOT NULL,
    message_sid TEXT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (peer_number, own_number)
);

-- Work that must happen. Claiming a job moves run_at to the end of the lease, by the database's clock, and raises attempts,
-- which is the claim's number: a write under an older number matches no row.
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    subject_id BIGINT NOT NULL,
    run_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    last_error TEXT,
    gave_up_at BIGINT,
    created_at BIGINT NOT NULL
);
CREATE INDEX jobs_due ON jobs (run_at) WHERE gave_up_at IS NULL;
CREATE INDEX jobs_of_summaries ON jobs (subject_id) WHERE kind = 'summary';

-- What a request with an Idempotency-Key was answered, so that its repetition does nothing twice. Without a status it is
-- still in flight. The answer is erased with the user it tells of.
CREATE TABLE idempotency_keys (
    route TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    user_id BIGINT REFERENCES users (id) ON DELETE CASCADE,
    status BIGINT,
    body TEXT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (route, idempotency_key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
CREATE INDEX idempotency_keys_by_user ON idempotency_keys (user_id) WHERE user_id IS NOT NULL;
