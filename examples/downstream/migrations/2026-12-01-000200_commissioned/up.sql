-- The books: which machine went into service when, and by which claim. A machine that is in them is
-- not deleted before somebody has taken it out of them, so nothing cascades.
CREATE TABLE commissioned (
    machine_id uuid PRIMARY KEY REFERENCES machines,
    fence int8 NOT NULL,
    commissioned_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
