-- Our tags: facts about a machine, with the machine as key. Operators write the version they want, the
-- control loop the version it has installed. The rows are deleted with the machine.
CREATE TABLE firmware_wanted (
    machine_id uuid PRIMARY KEY REFERENCES machines ON DELETE CASCADE,
    version text NOT NULL CHECK (version <> ''),
    -- The start of the maintenance window; NULL means at once.
    not_before timestamptz
);

CREATE TABLE firmware_installed (
    machine_id uuid PRIMARY KEY REFERENCES machines ON DELETE CASCADE,
    version text NOT NULL,
    installed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A workflow: the machines that need the process, the queue of each, and from when on (NULL means at
-- once). Once the process is defined, bmdb reads it after every write of a tag. It need not exclude
-- machines on hold: bmdb starts nothing on them.
CREATE VIEW firmware_workflow AS
    SELECT w.machine_id, p.provider, w.not_before AS ready_at
    FROM firmware_wanted w
    JOIN machine_provided p USING (machine_id)
    LEFT JOIN firmware_installed i USING (machine_id)
    WHERE w.version IS DISTINCT FROM i.version;
