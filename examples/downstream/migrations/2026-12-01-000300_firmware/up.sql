-- Tags of ours: facts about a machine, keyed by it. Operators write what they want on it, the control
-- loop what it has installed. They say nothing without the machine, so they go with it.
CREATE TABLE firmware_wanted (
    machine_id uuid PRIMARY KEY REFERENCES machines ON DELETE CASCADE,
    version text NOT NULL CHECK (version <> ''),
    -- The beginning of the maintenance window: not before it; NULL: at once.
    not_before timestamptz
);

CREATE TABLE firmware_installed (
    machine_id uuid PRIMARY KEY REFERENCES machines ON DELETE CASCADE,
    version text NOT NULL,
    installed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A workflow: the machines that need the process, the queue each is in, and from when on; NULL: at
-- once. bmdb reads it whenever anybody has written a tag, once the process is defined. Holds need not
-- be asked for here: bmdb starts nothing on a machine that is on hold.
CREATE VIEW firmware_workflow AS
    SELECT w.machine_id, p.provider, w.not_before AS ready_at
    FROM firmware_wanted w
    JOIN machine_provided p USING (machine_id)
    LEFT JOIN firmware_installed i USING (machine_id)
    WHERE w.version IS DISTINCT FROM i.version;
