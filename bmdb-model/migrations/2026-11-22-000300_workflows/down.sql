DELETE FROM process_def WHERE process IN ('ShepherdAccess', 'ShepherdAgentStart', 'ShepherdRecovery');
DROP VIEW workflow_agent_recovery, workflow_agent_start;
