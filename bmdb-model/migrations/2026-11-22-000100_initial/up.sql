-- The oldest migration whose components may still write to this database. A component that knows
-- no migration that new refuses to connect; every other one works beside its neighbours.
CREATE TABLE schema_compatibility (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    oldest_compatible text NOT NULL
);
INSERT INTO schema_compatibility (oldest_compatible) VALUES ('20261122000100');

-- Every tag write bumps machine_version, which is what serialises the writers of different tags of
-- one machine; the spare room on the page keeps those bumps HOT.
CREATE TABLE machines (
    machine_id uuid PRIMARY KEY,
    machine_created_at timestamptz NOT NULL DEFAULT now(),
    machine_version bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70);

-- No index may contain session_deadline: heartbeats would stop being HOT, and under a unique index
-- they would wait for every fence check.
CREATE TABLE sessions (
    session_id uuid PRIMARY KEY,
    session_component_name text NOT NULL,
    session_runtime_info text NOT NULL,
    session_created_at timestamptz NOT NULL DEFAULT now(),
    session_interval_seconds bigint NOT NULL CHECK (session_interval_seconds BETWEEN 1 AND 86400),
    session_deadline timestamptz NOT NULL
) WITH (fillfactor = 50);

-- What every component must know alike about a process. A process without a row is its own lane,
-- has no workflow and the default loss delay.
CREATE TABLE process_def (
    process text PRIMARY KEY CHECK (process ~ '^[A-Za-z][A-Za-z0-9_-]{0,62}$'),
    lane text NOT NULL CHECK (lane ~ '^[A-Za-z][A-Za-z0-9_-]{0,62}$'),
    workflow text NULL CHECK (workflow <> ''),
    -- A time-driven workflow's deadline moves by writes that are not planned (heartbeats), so its
    -- items alone do not say what is due.
    time_driven boolean NOT NULL DEFAULT false,
    loss_initial_seconds bigint NOT NULL DEFAULT 15 CHECK (loss_initial_seconds BETWEEN 1 AND 2147483647),
    loss_maximum_seconds bigint NOT NULL DEFAULT 3600 CHECK (loss_maximum_seconds BETWEEN loss_initial_seconds AND 2147483647),
    CHECK (workflow IS NOT NULL OR NOT time_driven)
);

-- CACHE 1 (the default) is load-bearing: a cached range would hand out fences out of order.
CREATE SEQUENCE work_fence CACHE 1;

-- One row per (machine, process) with the three gates of a claim: eligible (from the tags),
-- ready_at (deadline and backoff), session_id (the lock). They must stay in one row: under READ
-- COMMITTED only the locked row itself is re-read in its newest version.
CREATE TABLE work_item (
    machine_id uuid NOT NULL REFERENCES machines,
    process text NOT NULL CHECK (process ~ '^[A-Za-z][A-Za-z0-9_-]{0,62}$'),
    lane text NOT NULL CHECK (lane ~ '^[A-Za-z][A-Za-z0-9_-]{0,62}$'),
    provider text NULL,
    eligible boolean NOT NULL DEFAULT false,
    plan_at timestamptz NULL,
    backoff_until timestamptz NULL,
    ready_at timestamptz GENERATED ALWAYS AS (greatest(plan_at, backoff_until)) STORED,
    -- No action on delete: whoever deletes a session must have freed its items, with an attempt row.
    session_id uuid NULL REFERENCES sessions,
    started_at timestamptz NULL,
    fence bigint NOT NULL DEFAULT 0,
    failures bigint NOT NULL DEFAULT 0 CHECK (failures >= 0),
    losses bigint NOT NULL DEFAULT 0 CHECK (losses >= 0),
    cause text NULL,
    PRIMARY KEY (machine_id, process),
    CHECK ((session_id IS NULL) = (started_at IS NULL)),
    CHECK (NOT eligible OR plan_at IS NOT NULL)
) WITH (
    fillfactor = 80,
    -- In rows, not in the default 20 % of the table: dead entries gather at the head of
    -- work_item_due, whatever the size of the fleet.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 10000,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 50000
);

CREATE INDEX work_item_due ON work_item (process, provider, ready_at)
    WHERE eligible AND session_id IS NULL;

-- The guard of mutual exclusion: two holders in one lane of a machine cannot be stored. The janitor
-- finds a session's items through it as well.
CREATE UNIQUE INDEX work_item_lane ON work_item (machine_id, lane)
    WHERE session_id IS NOT NULL;

CREATE VIEW work AS
    SELECT machine_id, session_id, process FROM work_item WHERE session_id IS NOT NULL;

CREATE VIEW work_backoff AS
    SELECT machine_id, process, backoff_until AS until, cause
    FROM work_item WHERE backoff_until IS NOT NULL;

-- One row per attempt, written when it ends. No foreign keys: history outlives machines and sessions.
CREATE TABLE work_attempt (
    machine_id uuid NOT NULL,
    fence bigint NOT NULL,
    last_fence bigint NOT NULL,
    process text NOT NULL,
    session_id uuid NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('Finished', 'Failed', 'Canceled', 'Expired')),
    cause text NULL,
    -- How many attempts like this one (same cause, same interval) followed it and are folded into it.
    repeats bigint NOT NULL DEFAULT 0 CHECK (repeats >= 0),
    PRIMARY KEY (machine_id, fence),
    CHECK (last_fence >= fence)
);

CREATE VIEW work_history AS
    SELECT machine_id, process, 'Started' AS event, started_at AS timestamp,
           NULL::text AS failed_cause, session_id
    FROM work_attempt
    UNION ALL
    SELECT machine_id, process, 'Started', started_at, NULL, session_id
    FROM work_item WHERE session_id IS NOT NULL
    UNION ALL
    SELECT machine_id, process, outcome, ended_at, cause, session_id
    FROM work_attempt;

CREATE TABLE machine_provided (
    machine_id uuid PRIMARY KEY REFERENCES machines,
    provider text NOT NULL CHECK (provider ~ '^[A-Za-z][A-Za-z0-9_-]{0,62}$'),
    provider_id text NOT NULL CHECK (provider_id <> ''),
    provider_reservation_id text NULL,
    provider_ip_address text NULL,
    provider_location text NULL,
    provider_status text NULL CHECK (provider_status IN
        ('Missing', 'Provisioning', 'ProvisioningFailedPermanent', 'Running', 'Stopped', 'Unknown')),
    UNIQUE (provider, provider_id)
);

CREATE TABLE machine_agent_started (
    machine_id uuid PRIMARY KEY REFERENCES machines,
    agent_started_at timestamptz NOT NULL,
    agent_public_key bytea NOT NULL
);
CREATE INDEX machine_agent_started_key ON machine_agent_started (agent_public_key);

CREATE TABLE machine_agent_heartbeat (
    machine_id uuid PRIMARY KEY REFERENCES machines,
    agent_heartbeat_at timestamptz NOT NULL
) WITH (fillfactor = 70);

-- An operator's hand on a machine: nothing new starts on it while the row is there.
CREATE TABLE machine_hold (
    machine_id uuid PRIMARY KEY REFERENCES machines,
    reason text NOT NULL,
    since timestamptz NOT NULL DEFAULT now()
);
