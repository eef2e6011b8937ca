-- Moves the deadlines of a program's sessions. A deadline that has passed stays passed: a late
-- heartbeat never revives a session.
UPDATE sessions
SET session_deadline = clock_timestamp() + session_interval_seconds * interval '1 second'
WHERE session_id = ANY ($1) AND session_deadline > clock_timestamp()
RETURNING session_id
