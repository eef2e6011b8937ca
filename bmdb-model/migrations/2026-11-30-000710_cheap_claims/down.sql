DROP FUNCTION provided_of(uuid[]);

DROP TRIGGER work_item_look ON work_item;
DROP TRIGGER work_item_look_new ON work_item;
DROP TRIGGER work_item_start ON work_item;
CREATE TRIGGER work_item_start BEFORE UPDATE ON work_item FOR EACH ROW
    WHEN (OLD.session_id IS NULL AND NEW.session_id IS NOT NULL)
    EXECUTE FUNCTION start_within_limits();
DROP TRIGGER work_item_start_new ON work_item;
CREATE TRIGGER work_item_start_new BEFORE INSERT ON work_item FOR EACH ROW
    WHEN (NEW.session_id IS NOT NULL)
    EXECUTE FUNCTION start_within_limits();
DROP TRIGGER work_item_started_late ON work_item;
CREATE TRIGGER work_item_started_late AFTER UPDATE ON work_item FOR EACH ROW
    WHEN (OLD.session_id IS NULL AND NEW.session_id IS NOT NULL
          AND clock_timestamp() > NEW.started_at + interval '500 milliseconds')
    EXECUTE FUNCTION start_window_late();
DROP TRIGGER work_item_end ON work_item;
CREATE TRIGGER work_item_end BEFORE UPDATE ON work_item FOR EACH ROW
    WHEN (OLD.slots IS NOT NULL AND NEW.session_id IS NULL)
    EXECUTE FUNCTION end_within_limits();
DROP TRIGGER work_item_on_hold ON work_item;
CREATE TRIGGER work_item_on_hold BEFORE UPDATE ON work_item FOR EACH ROW
    WHEN (NEW.hold_reason IS NOT NULL AND NEW.eligible)
    EXECUTE FUNCTION keep_on_hold();
DROP TRIGGER work_item_lane_changed ON work_item;
CREATE TRIGGER work_item_lane_changed BEFORE UPDATE ON work_item FOR EACH ROW
    WHEN (OLD.lane IS DISTINCT FROM NEW.lane)
    EXECUTE FUNCTION current_lane();
DROP TRIGGER process_control_new ON process_control;
DROP FUNCTION forget_uncontrolled();
DROP FUNCTION is_uncontrolled(text);
DROP FUNCTION uncontrolled_mark(text);
DROP FUNCTION look_for_control();

ALTER TABLE work_item
    DROP CONSTRAINT work_item_process_check,
    DROP CONSTRAINT work_item_lane_check,
    ADD CONSTRAINT work_item_process_check CHECK (process ~ '^[A-Za-z][A-Za-z0-9_-]{0,62}$') NOT VALID,
    ADD CONSTRAINT work_item_lane_check CHECK (lane ~ '^[A-Za-z][A-Za-z0-9_-]{0,62}$') NOT VALID;
ALTER TABLE machine_provided
    DROP CONSTRAINT machine_provided_provider_check,
    ADD CONSTRAINT machine_provided_provider_check
        CHECK (provider ~ '^[A-Za-z][A-Za-z0-9_-]{0,62}$') NOT VALID;
