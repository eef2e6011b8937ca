CREATE TABLE machine_hardware_report (
    machine_id uuid PRIMARY KEY REFERENCES machines,
    hardware_report_raw bytea NOT NULL
);

CREATE TABLE machine_os_installation_request (
    machine_id uuid PRIMARY KEY REFERENCES machines,
    generation bigint NOT NULL,
    os_installation_request_raw bytea NOT NULL
);

CREATE TABLE machine_os_installation_report (
    machine_id uuid PRIMARY KEY REFERENCES machines,
    generation bigint NOT NULL,
    os_installation_result text NOT NULL CHECK (os_installation_result IN ('Success', 'Error')),
    os_installation_report_raw bytea NOT NULL
);

-- A request is settled by any report of its own generation; installed means settled with Success.
CREATE VIEW os_installation_settled AS
    SELECT machine_id, generation, os_installation_result
    FROM machine_os_installation_request
    JOIN machine_os_installation_report USING (machine_id, generation);
