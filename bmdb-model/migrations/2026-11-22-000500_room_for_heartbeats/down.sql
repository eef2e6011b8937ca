ALTER TABLE machine_agent_heartbeat SET (fillfactor = 70);
