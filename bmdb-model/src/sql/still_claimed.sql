-- Whether an attempt still has its item, when it is not known whether its end was committed. Locking the
-- item waits for an end that is in flight on the server; the caller reads the history in a later
-- statement, which sees what that end wrote.
SELECT 1 FROM work_item
WHERE machine_id = $1 AND process = $2 AND fence = $3 AND session_id = $4
FOR NO KEY UPDATE
