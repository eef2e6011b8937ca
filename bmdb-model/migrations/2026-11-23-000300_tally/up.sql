-- How many attempts started and ended, by minute: for people, nothing decides by it. Each component
-- counts for itself and adds to rows of its own every few seconds, so that nobody waits for anybody;
-- janitors add up the minutes that are over. Components of the previous version leave it alone, and
-- what they do is not counted.
CREATE TABLE attempt_tally (
    -- By the database's clock, when it was told.
    minute timestamptz NOT NULL,
    process text NOT NULL CHECK (process ~ '^[A-Za-z][A-Za-z0-9_-]{0,62}$'),
    event text NOT NULL CHECK (event IN ('Started', 'Finished', 'Failed', 'Canceled', 'Expired')),
    -- The component that counted; the nil UUID where the rows of all of them have been added up.
    writer uuid NOT NULL,
    count bigint NOT NULL CHECK (count >= 0),
    -- Of how many of those that started it is known since when they were due, and for how many
    -- milliseconds these had waited altogether.
    waits bigint NOT NULL CHECK (waits >= 0),
    waited_ms bigint NOT NULL CHECK (waited_ms >= 0),
    PRIMARY KEY (minute, process, event, writer)
) WITH (fillfactor = 70);

-- What janitors have still to add up, without stepping over a day of what they have.
CREATE INDEX attempt_tally_single ON attempt_tally (minute)
    WHERE writer <> '00000000-0000-0000-0000-000000000000';

INSERT INTO upkeep (task) VALUES ('TrimTally');
