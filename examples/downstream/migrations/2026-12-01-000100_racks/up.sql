CREATE TABLE racks (
    name text PRIMARY KEY,
    room text NOT NULL
);

-- Where a machine is. The row is deleted with the machine.
CREATE TABLE rack_units (
    machine_id uuid PRIMARY KEY REFERENCES machines ON DELETE CASCADE,
    rack text NOT NULL REFERENCES racks,
    unit int4 NOT NULL CHECK (unit > 0),
    UNIQUE (rack, unit)
);
