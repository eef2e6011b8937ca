-- What became of an attempt whose end may or may not have been committed. Locking the item waits
-- for an end that is still in flight on the server; the caller looks at the history in a later
-- statement, which sees what that end wrote.
SELECT 1 FROM work_item
WHERE machine_id = $1 AND process = $2 AND fence = $3 AND session_id = $4
FOR NO KEY UPDATE
