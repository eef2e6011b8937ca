-- A silence of ours is not a silence of theirs: an agent is silent only since somebody has been listening.

-- A program that listens to agents, and would write their heartbeats if there were any. It listens for as
-- long as its session's heartbeats arrive.
CREATE TABLE agent_listener (
    session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    -- '' is all of them.
    provider text NOT NULL DEFAULT '',
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (session_id, provider)
);

-- Since when the agents of a provider have been listened to without a gap, as janitors and claims observe it
-- every few seconds. The provider '' stands for those without a row of their own.
CREATE TABLE agent_listening (
    provider text PRIMARY KEY,
    -- When the time without a gap began; -infinity where the first observation found listeners.
    since timestamptz NOT NULL,
    -- When listening was last observed; NULL if never.
    heard_at timestamptz NULL,
    observed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- An operator has said that silence is to count although nobody listens. It ends when somebody does.
    assumed boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);

-- How long nobody may be listening before it counts as a gap: the only home of this time. Agents beat every
-- few seconds up to half a minute.
CREATE FUNCTION longest_gap() RETURNS interval LANGUAGE sql IMMUTABLE AS $$
    SELECT interval '90 seconds'
$$;

-- The time before which a silence of a provider's agents does not count. While nobody listens that is now:
-- if somebody began at once, a machine could not be silent earlier. So a plan made by it may be too early,
-- but never too late.
CREATE VIEW agent_listening_since AS
    SELECT provider,
           CASE WHEN assumed THEN timestamptz '-infinity'
                WHEN heard_at BETWEEN now() - longest_gap() AND now() + longest_gap() THEN since
                ELSE now() END AS since,
           assumed OR coalesce(heard_at BETWEEN now() - longest_gap() AND now() + longest_gap(), false) AS listened
    FROM agent_listening;

-- Notes for each provider whether somebody listens to its agents now: a program that says so, or whoever has
-- written a heartbeat that is younger than a gap.
CREATE FUNCTION observe_listening() RETURNS void LANGUAGE sql VOLATILE AS $$
    WITH RECURSIVE provider AS (
        (SELECT p.provider FROM machine_provided p ORDER BY p.provider LIMIT 1)
        UNION ALL
        SELECT n.provider FROM provider l CROSS JOIN LATERAL (
            SELECT p.provider FROM machine_provided p WHERE p.provider > l.provider
            ORDER BY p.provider LIMIT 1) n
    ), listener AS MATERIALIZED (
        SELECT l.provider FROM agent_listener l JOIN sessions s ON s.session_id = l.session_id
        WHERE s.session_deadline > clock_timestamp()
          AND s.session_deadline - s.session_interval_seconds * interval '1 second'
              > clock_timestamp() - longest_gap()
    ), seen AS MATERIALIZED (
        SELECT p.provider,
               EXISTS (SELECT FROM listener l WHERE l.provider IN ('', p.provider))
               OR EXISTS (SELECT FROM machine_agent_heartbeat h
                          JOIN machine_provided m ON m.machine_id = h.machine_id
                          WHERE h.agent_heartbeat_at > clock_timestamp() - longest_gap()
                            AND m.provider = p.provider) AS listened
        FROM provider p
    )
    INSERT INTO agent_listening AS a (provider, since, heard_at)
    SELECT s.provider,
           CASE WHEN s.listened THEN timestamptz '-infinity' ELSE clock_timestamp() END,
           CASE WHEN s.listened THEN clock_timestamp() END
    FROM seen s
    ON CONFLICT (provider) DO UPDATE
    SET observed_at = clock_timestamp(),
        heard_at = coalesce(excluded.heard_at, a.heard_at),
        assumed = a.assumed AND excluded.heard_at IS NULL,
        since = CASE WHEN excluded.heard_at IS NULL THEN a.since
                     WHEN a.heard_at BETWEEN clock_timestamp() - longest_gap()
                                         AND clock_timestamp() + longest_gap() THEN a.since
                     ELSE clock_timestamp() END
    -- Janitors and claims may observe as often as they like.
    WHERE a.observed_at NOT BETWEEN clock_timestamp() - interval '5 seconds' AND clock_timestamp();
$$;

-- The times are the only home of when an agent is silent: ten minutes after its last heartbeat, or thirty
-- after its start, and ten minutes after the agents of its provider are listened to again. Without an
-- observation of the provider nobody is known to listen.
CREATE OR REPLACE VIEW agent_silence AS
    SELECT p.machine_id, p.provider,
           greatest(coalesce(h.agent_heartbeat_at + interval '10 minutes',
                             s.agent_started_at + interval '30 minutes'),
                    coalesce(l.since, everywhere.since, now()) + interval '10 minutes') AS silent_at
    FROM machine_provided p
    JOIN machine_agent_started s ON s.machine_id = p.machine_id
    LEFT JOIN machine_agent_heartbeat h ON h.machine_id = p.machine_id
    LEFT JOIN agent_listening_since l ON l.provider = p.provider
    LEFT JOIN agent_listening_since everywhere ON everywhere.provider = '';
