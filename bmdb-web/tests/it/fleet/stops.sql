-- Limits, an open breaker, pauses, a process that is not plannable, and machines that rest.
CREATE FUNCTION pg_temp.id(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$ SELECT (lpad(to_hex(n), 8, '0') || '-beef-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid $$;
INSERT INTO process_control VALUES ('ShepherdRecovery'), ('ShepherdAgentStart'), ('AcmeBurnIn');
INSERT INTO process_limit (process, per, max_running, max_starts, window_seconds) VALUES
    ('ShepherdRecovery', 'provider', 5, 10, 600),
    ('AcmeBurnIn', 'process', 4, NULL, NULL);
INSERT INTO process_breaker (process, per, max_due, max_due_percent, max_failures, failures_window_seconds,
                             resume_after_seconds)
VALUES ('ShepherdRecovery', 'provider', 5, 5, 20, 600, NULL), ('AcmeBurnIn', 'process', NULL, NULL, 3, 3600, 7200);
INSERT INTO process_breaker_state (process, per, partition, due, population, evaluated_at, disarmed) VALUES
    ('ShepherdRecovery', 'provider', 'SiteA', 9, 30, clock_timestamp() - interval '12 min', false),
    ('ShepherdRecovery', 'provider', 'SiteB', 6, 11, clock_timestamp() - interval '20 s', true);
SELECT fit_slots('ShepherdRecovery'), fit_slots('AcmeBurnIn');
INSERT INTO process_pause (process, provider, since, until, source, paused_by, reason) VALUES
    ('ShepherdRecovery', 'SiteA', clock_timestamp() - interval '12 min', 'infinity', 'Breaker', 'breaker',
     '9 of 30 machines need it at once, more than 5'),
    ('AcmeBurnIn', '', clock_timestamp() - interval '30 h', clock_timestamp() + interval '2 h', 'Operator',
     'HOSTILE', 'HOSTILE');
INSERT INTO operator_action (process, verb, operator, reason, details, acted_at) VALUES
    ('ShepherdRecovery', 'TripBreaker', 'breaker', '9 of 30 machines need it at once, more than 5',
     '{"provider": "SiteA"}', clock_timestamp() - interval '12 min');
INSERT INTO plan_failure (process, workflow, machine_id, error, since) VALUES
    ('AcmeBurnIn', 'workflow_burn_in', pg_temp.id(12), 'HOSTILE', clock_timestamp() - interval '1 h');
UPDATE work_item i SET backoff_until = clock_timestamp() + interval '20 min', eligible = true, failures = 0,
                       unproductive = u, flapping = f
FROM (VALUES (18, 3, 0), (19, 0, 2)) AS r (n, u, f)
WHERE i.machine_id = pg_temp.id(r.n) AND i.process = 'ShepherdAgentStart';
