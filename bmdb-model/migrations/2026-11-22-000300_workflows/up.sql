-- A workflow is the only home of the condition under which a machine needs a process: the planner,
-- live retrievals, counts and people at a psql prompt all read the same view. NULL in ready_at
-- means ready at once.
CREATE VIEW workflow_agent_start AS
    SELECT p.machine_id, p.provider, NULL::timestamptz AS ready_at
    FROM machine_provided p
    WHERE NOT EXISTS (SELECT 1 FROM machine_agent_started s WHERE s.machine_id = p.machine_id)
      AND NOT EXISTS (SELECT 1 FROM os_installation_settled o
                      WHERE o.machine_id = p.machine_id AND o.os_installation_result = 'Success');

CREATE VIEW workflow_agent_recovery AS
    SELECT p.machine_id, p.provider,
           coalesce(h.agent_heartbeat_at + interval '10 minutes',
                    s.agent_started_at + interval '30 minutes') AS ready_at
    FROM machine_provided p
    JOIN machine_agent_started s ON s.machine_id = p.machine_id
    LEFT JOIN machine_agent_heartbeat h ON h.machine_id = p.machine_id
    WHERE NOT EXISTS (SELECT 1 FROM os_installation_settled o
                      WHERE o.machine_id = p.machine_id AND o.os_installation_result = 'Success');

-- The three shepherds exclude each other on a machine. ShepherdAccess is worked through explicit
-- retrievals only, so it has no workflow.
INSERT INTO process_def (process, lane, workflow, time_driven) VALUES
    ('ShepherdAccess', 'shepherd', NULL, false),
    ('ShepherdAgentStart', 'shepherd', 'workflow_agent_start', false),
    ('ShepherdRecovery', 'shepherd', 'workflow_agent_recovery', true);
