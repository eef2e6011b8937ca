-- An index entry takes 2,704 bytes, and a public key may be longer: a machine whose agent had such a key could
-- not be finished, ever. Keys are found by their hash. Earlier versions look for keys of one machine only.
CREATE INDEX machine_agent_started_key_hash ON machine_agent_started (sha256(agent_public_key));
DROP INDEX machine_agent_started_key;

-- The limits of bmdb-model, column.rs, for what others write; NOT VALID leaves rows as they are. Only where a
-- value is replaced as a whole or never: elsewhere, a row that exists could not be updated any more.
ALTER TABLE machine_agent_started ADD CONSTRAINT machine_agent_started_length
    CHECK (octet_length(agent_public_key) <= 65536) NOT VALID;
ALTER TABLE machine_hardware_report ADD CONSTRAINT machine_hardware_report_length
    CHECK (octet_length(hardware_report_raw) <= 16777216) NOT VALID;
ALTER TABLE machine_os_installation_request ADD CONSTRAINT machine_os_installation_request_length
    CHECK (octet_length(os_installation_request_raw) <= 16777216) NOT VALID;
ALTER TABLE machine_os_installation_report ADD CONSTRAINT machine_os_installation_report_length
    CHECK (octet_length(os_installation_report_raw) <= 16777216) NOT VALID;
ALTER TABLE machine_hold ADD CONSTRAINT machine_hold_length
    CHECK (octet_length(reason) <= 8192) NOT VALID;
ALTER TABLE operator_action ADD CONSTRAINT operator_action_length
    CHECK (octet_length(operator) <= 1024 AND octet_length(reason) <= 8192) NOT VALID;
