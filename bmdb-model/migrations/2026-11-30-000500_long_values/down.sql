-- PostgreSQL's own error would name neither the key nor what to do.
DO $$
DECLARE
    too_long bigint;
BEGIN
    SELECT count(*) INTO too_long FROM machine_agent_started WHERE octet_length(agent_public_key) > 2672;
    IF too_long > 0 THEN
        RAISE EXCEPTION 'the public keys of % agents are longer than 2672 bytes, and the previous version cannot '
            'store them: unset the tag agent_started of their machines first', too_long
            USING ERRCODE = 'program_limit_exceeded';
    END IF;
END $$;
ALTER TABLE operator_action DROP CONSTRAINT operator_action_length;
ALTER TABLE machine_hold DROP CONSTRAINT machine_hold_length;
ALTER TABLE machine_os_installation_report DROP CONSTRAINT machine_os_installation_report_length;
ALTER TABLE machine_os_installation_request DROP CONSTRAINT machine_os_installation_request_length;
ALTER TABLE machine_hardware_report DROP CONSTRAINT machine_hardware_report_length;
ALTER TABLE machine_agent_started DROP CONSTRAINT machine_agent_started_length;
CREATE INDEX machine_agent_started_key ON machine_agent_started (agent_public_key);
DROP INDEX machine_agent_started_key_hash;
