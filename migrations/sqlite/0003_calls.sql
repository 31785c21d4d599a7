-- What calls need so that a redelivery hears the same, whichever instance is asked, and that one which a process left undone is done.

-- Since when the caller has heard no new words of the turn, by the database's clock.
ALTER TABLE voice_answers ADD COLUMN waiting_since BIGINT NOT NULL DEFAULT 0;

-- A call that we are about to place. Its id is in the URL that Twilio asks when it is answered, so that it is known why we
-- called whom, even when the answer to the placing was lost.
CREATE TABLE call_orders (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    purpose TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX call_orders_by_age ON call_orders (created_at);
CREATE INDEX call_orders_by_user ON call_orders (user_id);

-- Until when, by the database's clock, a process may change the call because a machine answered it.
ALTER TABLE call_logs ADD COLUMN change_until BIGINT NOT NULL DEFAULT 0;

-- pending, done, or unavailable.
ALTER TABLE voicemails ADD COLUMN transcript_status TEXT NOT NULL DEFAULT 'pending';
UPDATE voicemails SET transcript_status = CASE WHEN transcript IS NULL THEN 'unavailable' ELSE 'done' END
WHERE transcript IS NOT NULL
OR NOT EXISTS (SELECT 1 FROM jobs WHERE kind = 'voicemail' AND subject_id = voicemails.id AND gave_up_at IS NULL);
