-- What recovers machines may not take down a fleet. Of each provider's machines: at most five at once and
-- ten within ten minutes; not at all while more than 5 % of them, and more than five, are silent, nor after
-- twenty failures within ten minutes, until a person says `bmdb process resume`. Safe for fifty machines and
-- for fifty thousand, because a machine that is not recovered costs less than a thousand that are rebooted.
-- `bmdb process limit` and `bmdb process breaker` change it; the changelog says how to go back.
LOCK TABLE work_item IN SHARE ROW EXCLUSIVE MODE;
INSERT INTO process_control (process) VALUES ('ShepherdRecovery') ON CONFLICT DO NOTHING;
INSERT INTO process_limit (process, per, max_running, max_starts, window_seconds)
VALUES ('ShepherdRecovery', 'provider', 5, 10, 600) ON CONFLICT DO NOTHING;
INSERT INTO process_breaker (process, per, max_due, max_due_percent, max_failures, failures_window_seconds)
VALUES ('ShepherdRecovery', 'provider', 5, 5, 20, 600) ON CONFLICT DO NOTHING;
-- What is claimed now takes its slots.
SELECT fit_slots('ShepherdRecovery');

-- A machine needs minutes to boot. One that is recovered twice within an hour was not.
UPDATE process_def
SET rest_initial_seconds = 600, rest_maximum_seconds = 14400, flapping_within_seconds = 3600
WHERE process = 'ShepherdRecovery';

-- What views and people who only read call. The list of `grants` where that is run after this.
DO $$
DECLARE
    viewed regprocedure;
BEGIN
    IF current_user = 'bmdb_owner' AND to_regrole('bmdb_viewer') IS NOT NULL THEN
        FOR viewed IN
            SELECT p.oid FROM pg_proc p
            WHERE p.pronamespace = current_schema()::regnamespace
              AND p.proname IN ('breaker_threshold', 'longest_gap', 'partition_of', 'process_gates')
        LOOP
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO bmdb_viewer', viewed);
        END LOOP;
    END IF;
END $$;
