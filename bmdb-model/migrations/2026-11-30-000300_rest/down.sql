DROP TRIGGER work_item_lane_changed ON work_item;
DROP TRIGGER work_item_lane_new ON work_item;
DROP FUNCTION current_lane();
DROP FUNCTION definitions_are_current(bigint);
DROP TRIGGER process_def_changed ON process_def;
DROP FUNCTION count_definition_change();
DROP TABLE definitions_version;
DROP TABLE plan_failure;
CREATE OR REPLACE VIEW work_poisoned AS
    SELECT machine_id, process, failures, losses
    FROM work_item WHERE losses >= 3 OR failures >= 10;
DROP INDEX work_item_on_hold;
DROP INDEX work_item_resting;
DROP TRIGGER work_item_on_hold ON work_item;
DROP FUNCTION keep_on_hold();
ALTER TABLE work_item
    DROP COLUMN hold_since, DROP COLUMN hold_reason, DROP COLUMN finished_at, DROP COLUMN flapping,
    DROP COLUMN unproductive;
UPDATE process_def SET workflow = off_workflow, time_driven = off_time_driven WHERE off_workflow IS NOT NULL;
ALTER TABLE process_def
    DROP COLUMN off_time_driven, DROP COLUMN off_workflow, DROP COLUMN flapping_within_seconds,
    DROP COLUMN rest_maximum_seconds, DROP COLUMN rest_initial_seconds;
