DROP TABLE machine_hold, machine_agent_heartbeat, machine_agent_started, machine_provided;
DROP VIEW work_history, work_backoff, work;
DROP TABLE work_attempt, work_item;
DROP SEQUENCE work_fence;
DROP TABLE process_def, sessions, machines, schema_compatibility;
