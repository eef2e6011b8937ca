-- When each machine was commissioned, and by which claim. A machine cannot be deleted while it has a
-- row here, so there is no ON DELETE CASCADE.
CREATE TABLE commissioned (
    machine_id uuid PRIMARY KEY REFERENCES machines,
    fence int8 NOT NULL,
    commissioned_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
