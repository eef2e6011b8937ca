-- A machine on which a process succeeds and is needed again at once, again and again, rests for an interval
-- that grows. And what is wrong with one process or view stays with that process.

-- What is said of a process as a whole.
ALTER TABLE process_def
    -- The rest after a finish that has not changed that the machine is due, or after several that have not
    -- lasted. Each following one is twice as long.
    ADD COLUMN rest_initial_seconds bigint NOT NULL DEFAULT 30
        CHECK (rest_initial_seconds BETWEEN 1 AND 2147483647),
    ADD COLUMN rest_maximum_seconds bigint NOT NULL DEFAULT 3600
        CHECK (rest_maximum_seconds BETWEEN 1 AND 2147483647),
    -- A finish that comes so soon after the one before on the same machine has not lasted. The third in a
    -- row makes the machine flap.
    ADD COLUMN flapping_within_seconds bigint NOT NULL DEFAULT 60
        CHECK (flapping_within_seconds BETWEEN 0 AND 2147483647),
    -- The workflow of a process that is switched off, and whether it was driven by time: not in the columns
    -- that planners read, so components of every version plan it nowhere.
    ADD COLUMN off_workflow text NULL CHECK (off_workflow <> ''),
    ADD COLUMN off_time_driven boolean NOT NULL DEFAULT false,
    ADD CHECK (rest_initial_seconds <= rest_maximum_seconds),
    ADD CHECK (workflow IS NULL OR off_workflow IS NULL);

ALTER TABLE work_item
    -- How many finishes in a row have left the machine due, and how many came soon after the one before.
    ADD COLUMN unproductive bigint NOT NULL DEFAULT 0 CHECK (unproductive >= 0),
    ADD COLUMN flapping bigint NOT NULL DEFAULT 0 CHECK (flapping >= 0),
    ADD COLUMN finished_at timestamptz NULL,
    -- Only this process is on hold on this machine. While it is, the item is not eligible.
    ADD COLUMN hold_reason text NULL CHECK (hold_reason <> ''),
    ADD COLUMN hold_since timestamptz NULL,
    ADD CHECK ((hold_reason IS NULL) = (hold_since IS NULL));

-- Planners of the previous version do not know this hold.
CREATE FUNCTION keep_on_hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.eligible := false;
    NEW.plan_at := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER work_item_on_hold BEFORE UPDATE ON work_item FOR EACH ROW
    WHEN (NEW.hold_reason IS NOT NULL AND NEW.eligible)
    EXECUTE FUNCTION keep_on_hold();

-- Machines that rest although nothing failed, and processes that are on hold on a machine.
CREATE INDEX work_item_resting ON work_item (machine_id, process)
    WHERE unproductive > 0 OR flapping >= 2;
CREATE INDEX work_item_on_hold ON work_item (machine_id, process)
    WHERE hold_reason IS NOT NULL;

-- Machines on which a process fails or expires so often that somebody should look; the index has the same
-- condition. A machine that is on hold has been looked at.
CREATE OR REPLACE VIEW work_poisoned AS
    SELECT i.machine_id, i.process, i.failures, i.losses
    FROM work_item i
    WHERE (i.losses >= 3 OR i.failures >= 10) AND i.hold_reason IS NULL
      AND NOT EXISTS (SELECT FROM machine_hold h WHERE h.machine_id = i.machine_id);

-- Workflows that failed, each with one machine for which they did. The items of these machines stay as they
-- were planned before.
CREATE TABLE plan_failure (
    process text PRIMARY KEY CHECK (process ~ '^[A-Za-z][A-Za-z0-9_-]{0,62}$'),
    workflow text NOT NULL,
    machine_id uuid NOT NULL,
    error text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- When the machine and the error were noted: other ones replace them after a minute at the earliest.
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Counts the changes of definitions. A plan names the number that its definitions had.
CREATE TABLE definitions_version (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    version bigint NOT NULL
);
INSERT INTO definitions_version (version) VALUES (1);

CREATE FUNCTION count_definition_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE definitions_version SET version = version + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER process_def_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON process_def
    FOR EACH STATEMENT EXECUTE FUNCTION count_definition_change();

-- Fails with serialization_failure, so that the transaction is run again, if definitions have changed since
-- they were read.
CREATE FUNCTION definitions_are_current(planned bigint) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF (SELECT version FROM definitions_version) IS DISTINCT FROM planned THEN
        RAISE EXCEPTION 'the definitions of processes have changed since they were read'
            USING ERRCODE = 'serialization_failure';
    END IF;
    RETURN true;
END $$;

-- An item's lane is that of the definition in force, whatever a plan says that was made by an older one. Each
-- query of a volatile function sees what was committed before it, under READ COMMITTED. A transaction with an
-- older snapshot must be SERIALIZABLE: then it conflicts with the one that changed the definition.
CREATE FUNCTION current_lane() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    defined text;
BEGIN
    SELECT d.lane INTO defined FROM process_def d WHERE d.process = NEW.process;
    NEW.lane := coalesce(defined, NEW.process);
    RETURN NEW;
END $$;
CREATE TRIGGER work_item_lane_new BEFORE INSERT ON work_item FOR EACH ROW
    EXECUTE FUNCTION current_lane();
CREATE TRIGGER work_item_lane_changed BEFORE UPDATE ON work_item FOR EACH ROW
    WHEN (OLD.lane IS DISTINCT FROM NEW.lane)
    EXECUTE FUNCTION current_lane();
