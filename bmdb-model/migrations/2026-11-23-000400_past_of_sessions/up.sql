-- What a session did, the attempt that began last first. Not by when they ended: that changes with every
-- failure of a streak, which this index leaves where it is while it is the same session that fails.
CREATE INDEX work_attempt_session ON work_attempt (session_id, fence);

-- A backoff ends at a time that every client can read: what never ends is a hold (`machine_hold`), which
-- says who wants it and why. bmdb writes no other, so this is about what was written by hand.
UPDATE work_item SET backoff_until = least(greatest(backoff_until, '0001-01-02 00:00:00Z'), '9999-12-31 00:00:00Z')
WHERE backoff_until < '0001-01-02 00:00:00Z' OR backoff_until > '9999-12-31 00:00:00Z';
ALTER TABLE work_item ADD CONSTRAINT work_item_backoff_ends
    CHECK (backoff_until BETWEEN '0001-01-02 00:00:00Z' AND '9999-12-31 00:00:00Z');
