ALTER TABLE work_item DROP CONSTRAINT work_item_backoff_ends;
DROP INDEX work_attempt_session;
