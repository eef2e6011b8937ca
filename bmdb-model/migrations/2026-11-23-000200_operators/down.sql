DROP INDEX sessions_created;
DROP INDEX work_item_poisoned;
DROP VIEW work_poisoned;
DROP INDEX work_item_backoff;
DROP TABLE operator_action;
