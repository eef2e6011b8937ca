-- What a claim and an end cost the server: half of it went into checks whose result was known.

-- The names that were allowed before. A counted repetition of 62 costs the engine of regular expressions fifteen
-- times as much as the star and the length, in each of two columns, for each claim and each end. NOT VALID leaves
-- the rows unread, which the old constraints have checked.
ALTER TABLE work_item
    DROP CONSTRAINT work_item_process_check,
    DROP CONSTRAINT work_item_lane_check,
    ADD CONSTRAINT work_item_process_check
        CHECK (octet_length(process) < 64 AND process ~ '^[A-Za-z][A-Za-z0-9_-]*$') NOT VALID,
    ADD CONSTRAINT work_item_lane_check
        CHECK (octet_length(lane) < 64 AND lane ~ '^[A-Za-z][A-Za-z0-9_-]*$') NOT VALID;
ALTER TABLE machine_provided
    DROP CONSTRAINT machine_provided_provider_check,
    ADD CONSTRAINT machine_provided_provider_check
        CHECK (octet_length(provider) < 64 AND provider ~ '^[A-Za-z][A-Za-z0-9_-]*$') NOT VALID;

-- Notes for the transaction that something is said of no process with this name, so that of the claims of a
-- statement only the first looks. A limit cannot be set in the meantime, because that waits until no transaction
-- that claims is under way. For a first pause or breaker in the meantime, these claims are made already.
-- With the transaction's id, so that no setting of a connection or role turns limits off.
CREATE FUNCTION uncontrolled_mark(process text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT process || ' ' || pg_current_xact_id()
$$;
CREATE FUNCTION is_uncontrolled(process text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT current_setting('bmdb.uncontrolled', true) IS NOT DISTINCT FROM uncontrolled_mark(process)
$$;
CREATE FUNCTION look_for_control() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM process_control c WHERE c.process = NEW.process;
    PERFORM set_config('bmdb.uncontrolled', CASE WHEN FOUND THEN '' ELSE uncontrolled_mark(NEW.process) END, true);
    RETURN NEW;
END $$;
-- What the same transaction says of a process counts too.
CREATE FUNCTION forget_uncontrolled() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('bmdb.uncontrolled', '', true);
    RETURN NULL;
END $$;
CREATE TRIGGER process_control_new AFTER INSERT ON process_control FOR EACH STATEMENT
    EXECUTE FUNCTION forget_uncontrolled();

-- Triggers of one event fire in the order of their names, so the look comes before the start.
CREATE TRIGGER work_item_look BEFORE UPDATE OF session_id ON work_item FOR EACH ROW
    WHEN (OLD.session_id IS NULL AND NEW.session_id IS NOT NULL
          AND NOT is_uncontrolled(NEW.process))
    EXECUTE FUNCTION look_for_control();
CREATE TRIGGER work_item_look_new BEFORE INSERT ON work_item FOR EACH ROW
    WHEN (NEW.session_id IS NOT NULL
          AND NOT is_uncontrolled(NEW.process))
    EXECUTE FUNCTION look_for_control();
DROP TRIGGER work_item_start ON work_item;
CREATE TRIGGER work_item_start BEFORE UPDATE OF session_id ON work_item FOR EACH ROW
    WHEN (OLD.session_id IS NULL AND NEW.session_id IS NOT NULL
          AND NOT is_uncontrolled(NEW.process))
    EXECUTE FUNCTION start_within_limits();
DROP TRIGGER work_item_start_new ON work_item;
CREATE TRIGGER work_item_start_new BEFORE INSERT ON work_item FOR EACH ROW
    WHEN (NEW.session_id IS NOT NULL
          AND NOT is_uncontrolled(NEW.process))
    EXECUTE FUNCTION start_within_limits();

-- The other triggers with the columns that they are about: a condition is prepared by each statement that names
-- one of these, and by no other.
DROP TRIGGER work_item_started_late ON work_item;
CREATE TRIGGER work_item_started_late AFTER UPDATE OF session_id ON work_item FOR EACH ROW
    WHEN (OLD.session_id IS NULL AND NEW.session_id IS NOT NULL
          AND clock_timestamp() > NEW.started_at + interval '500 milliseconds')
    EXECUTE FUNCTION start_window_late();
DROP TRIGGER work_item_end ON work_item;
CREATE TRIGGER work_item_end BEFORE UPDATE OF session_id ON work_item FOR EACH ROW
    WHEN (OLD.slots IS NOT NULL AND NEW.session_id IS NULL)
    EXECUTE FUNCTION end_within_limits();
DROP TRIGGER work_item_on_hold ON work_item;
CREATE TRIGGER work_item_on_hold BEFORE UPDATE OF eligible, hold_reason ON work_item FOR EACH ROW
    WHEN (NEW.hold_reason IS NOT NULL AND NEW.eligible)
    EXECUTE FUNCTION keep_on_hold();
DROP TRIGGER work_item_lane_changed ON work_item;
CREATE TRIGGER work_item_lane_changed BEFORE UPDATE OF lane ON work_item FOR EACH ROW
    WHEN (OLD.lane IS DISTINCT FROM NEW.lane)
    EXECUTE FUNCTION current_lane();

-- The tag machine_provided of machines that the calling statement has claimed. Volatile, so that its query sees
-- what was committed before they were, such as the end of the attempt before.
CREATE FUNCTION provided_of(machines uuid[]) RETURNS SETOF machine_provided
LANGUAGE plpgsql VOLATILE ROWS 10 AS $$
BEGIN
    RETURN QUERY SELECT p.* FROM machine_provided p WHERE p.machine_id = ANY (machines);
END $$;
