-- A silence of ours is not a silence of theirs: an agent is silent only since somebody has been listening.

-- A program that listens to agents, and would write their heartbeats if there were any. It listens for as
-- long as its session's heartbeats arrive.
CREATE TABLE agent_listener (
    listener_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    -- '' is all of them.
    provider text NOT NULL DEFAULT '',
    since timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX agent_listener_session ON agent_listener (session_id);

-- Since when the agents of a provider have been listened to without a gap, as janitors and claims observe it
-- every few seconds. A row for the provider '' that is assumed switches this off: silence always counts.
CREATE TABLE agent_listening (
    provider text PRIMARY KEY,
    -- When the time without a gap began; -infinity before the first observation. That one cannot know. Where
    -- nearly all heartbeats are fresh, nobody can have just come back, so it takes the longest time that matters.
    since timestamptz NOT NULL,
    -- When listening was last observed; NULL if never.
    heard_at timestamptz NULL,
    -- A machine whose heartbeat was fresh. While it is, nobody looks for another one.
    witness uuid NULL,
    observed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- How long the next observation may wait: longer while a search of all heartbeats finds nothing.
    pause interval NOT NULL DEFAULT '5 seconds',
    -- An operator has said that silence is to count although nobody listens. It ends when somebody does,
    -- and when nobody has observed this for longer than a gap, as after an outage or in a restored backup.
    assumed boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);

-- How long nobody may be listening before it counts as a gap: the only home of this time. Agents beat every
-- few seconds up to half a minute. A heartbeat proves for so long that somebody listens, and an observation of
-- that as long, so a writer by plain SQL may be away twice as long unnoticed.
CREATE FUNCTION longest_gap() RETURNS interval LANGUAGE sql IMMUTABLE AS $$
    SELECT interval '90 seconds'
$$;

-- The time before which a silence of a provider's agents does not count. While nobody listens that is now:
-- if somebody began at once, a machine could not be silent earlier. So a plan made by it may be too early,
-- but never too late. An observation is not needed for this to be safe, only for listening to go on: what was
-- observed too long ago, or in the future of a clock that was set back, is a gap.
CREATE VIEW agent_listening_since AS
    SELECT a.provider,
           CASE WHEN o.assumed THEN timestamptz '-infinity' WHEN o.listened THEN a.since ELSE now() END AS since,
           o.listened, o.assumed, a.heard_at
    FROM agent_listening a
    CROSS JOIN LATERAL (
        SELECT coalesce(a.heard_at BETWEEN now() - longest_gap() AND now() + longest_gap(), false) AS listened,
               a.assumed AND (a.provider = '' OR
                   a.observed_at BETWEEN now() - longest_gap() AND now() + longest_gap()) AS assumed
    ) o;

-- The programs that listen to agents now.
CREATE VIEW agent_listener_alive AS
    SELECT l.listener_id, l.session_id, l.provider, l.since
    FROM agent_listener l JOIN sessions s ON s.session_id = l.session_id
    WHERE s.session_deadline > clock_timestamp()
      AND s.session_deadline - s.session_interval_seconds * interval '1 second'
          BETWEEN clock_timestamp() - longest_gap() AND clock_timestamp() + longest_gap();

-- Notes for each provider whether somebody listens to its agents now: a program that says so, or the writer of
-- a heartbeat that is younger than a gap. Call it as a statement of its own. Janitors and claims may call it
-- as often as they like, and concurrently.
CREATE FUNCTION observe_listening() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    began timestamptz := clock_timestamp();
    search_began timestamptz;
    next_pause interval := interval '5 seconds';
    asked text[];
    heard text[];
    heard_by_search text[] := '{}';
    witnesses uuid[] := '{}';
    nearly_all_fresh boolean[] := '{}';
BEGIN
    IF EXISTS (SELECT FROM agent_listening a WHERE a.provider <> '')
       AND NOT EXISTS (SELECT FROM agent_listening a WHERE a.provider <> ''
                       AND a.observed_at NOT BETWEEN began - a.pause AND began + a.pause) THEN
        RETURN;
    END IF;
    INSERT INTO agent_listening (provider, since, observed_at)
    WITH RECURSIVE known AS (
        (SELECT p.provider FROM machine_provided p ORDER BY p.provider LIMIT 1)
        UNION ALL
        SELECT n.provider FROM known k CROSS JOIN LATERAL (
            SELECT p.provider FROM machine_provided p WHERE p.provider > k.provider
            ORDER BY p.provider LIMIT 1) n
    )
    SELECT k.provider, '-infinity', '-infinity' FROM known k
    WHERE NOT EXISTS (SELECT FROM agent_listening a WHERE a.provider = k.provider)
    ON CONFLICT DO NOTHING;
    -- What another observer is about to note is left to it.
    asked := ARRAY(
        SELECT a.provider FROM agent_listening a
        WHERE a.provider <> '' AND a.observed_at NOT BETWEEN began - a.pause AND began + a.pause
        FOR NO KEY UPDATE SKIP LOCKED);
    DELETE FROM agent_listening a
    WHERE a.provider = ANY (asked)
      AND NOT EXISTS (SELECT FROM machine_provided p WHERE p.provider = a.provider);
    heard := ARRAY(
        SELECT a.provider FROM agent_listening a
        WHERE a.provider = ANY (asked)
          AND (EXISTS (SELECT FROM agent_listener_alive l WHERE l.provider IN ('', a.provider))
               OR EXISTS (SELECT FROM machine_agent_heartbeat h
                          JOIN machine_provided p ON p.machine_id = h.machine_id
                          WHERE h.machine_id = a.witness AND p.provider = a.provider
                            AND h.agent_heartbeat_at
                                BETWEEN began - longest_gap() AND began + longest_gap())));
    IF NOT asked <@ heard THEN
        -- Reads all heartbeats, because an index would end their HOT updates.
        search_began := clock_timestamp();
        SELECT coalesce(array_agg(f.provider), '{}'), coalesce(array_agg(f.witness), '{}'),
               coalesce(array_agg(20 * f.fresh >= 19 * f.heartbeats), '{}')
        INTO heard_by_search, witnesses, nearly_all_fresh
        FROM (SELECT p.provider, count(*) AS heartbeats, count(*) FILTER (WHERE c.fresh) AS fresh,
                     (array_agg(h.machine_id ORDER BY h.agent_heartbeat_at DESC) FILTER (WHERE c.fresh))[1] AS witness
              FROM machine_agent_heartbeat h JOIN machine_provided p ON p.machine_id = h.machine_id
              CROSS JOIN LATERAL (
                  SELECT h.agent_heartbeat_at BETWEEN began - longest_gap() AND began + longest_gap() AS fresh) c
              WHERE p.provider = ANY (asked) AND NOT p.provider = ANY (heard)
              GROUP BY p.provider) f
        WHERE f.fresh > 0;
        -- A search costs a twentieth of one processor at most, until it takes longer than a second.
        next_pause := greatest(next_pause,
            least(20 * (clock_timestamp() - search_began), longest_gap() / 3));
    END IF;
    UPDATE agent_listening a
    SET observed_at = began,
        pause = CASE WHEN n.heard THEN interval '5 seconds' ELSE next_pause END,
        witness = coalesce(witnesses[array_position(heard_by_search, a.provider)], a.witness),
        since = CASE WHEN a.heard_at BETWEEN began - longest_gap() AND began + longest_gap()
                          OR NOT n.heard AND a.heard_at <= began THEN a.since
                     WHEN a.heard_at IS NULL AND a.since = '-infinity'
                          AND nearly_all_fresh[array_position(heard_by_search, a.provider)]
                     THEN began - interval '30 minutes'
                     ELSE began END,
        heard_at = CASE WHEN n.heard THEN began
                        -- Or it would count again when the clock that was set back gets there.
                        WHEN a.heard_at <= began + longest_gap() THEN a.heard_at END,
        assumed = a.assumed AND NOT n.heard
                  AND a.observed_at BETWEEN began - longest_gap() AND began + longest_gap()
    FROM (SELECT k.provider, k.provider = ANY (heard || heard_by_search) AS heard
          FROM unnest(asked) k (provider)) n
    WHERE a.provider = n.provider;
END $$;

-- Lets silence count for the providers to which nobody listens, or for one of them, until somebody does. Returns
-- those for which that is new.
CREATE FUNCTION assume_listening(asked_provider text) RETURNS SETOF text LANGUAGE sql AS $$
    INSERT INTO agent_listening AS a (provider, since, assumed)
    SELECT k.provider, clock_timestamp(), true
    FROM (SELECT DISTINCT p.provider FROM machine_provided p
          WHERE asked_provider IS NULL OR p.provider = asked_provider) k
    ORDER BY k.provider
    ON CONFLICT (provider) DO UPDATE SET assumed = true, observed_at = clock_timestamp()
    WHERE NOT EXISTS (
        SELECT FROM agent_listening_since l WHERE l.provider = a.provider AND (l.listened OR l.assumed))
    RETURNING a.provider
$$;

-- The times are the only home of when an agent is silent: ten minutes after its last heartbeat, or thirty
-- after its start, and ten minutes after the agents of its provider are listened to again. Without an
-- observation of the provider nobody is known to listen.
CREATE VIEW agent_quiet AS
    SELECT p.machine_id, p.provider,
           coalesce(h.agent_heartbeat_at + interval '10 minutes',
                    s.agent_started_at + interval '30 minutes') AS quiet_at
    FROM machine_provided p
    JOIN machine_agent_started s ON s.machine_id = p.machine_id
    LEFT JOIN machine_agent_heartbeat h ON h.machine_id = p.machine_id;
CREATE OR REPLACE VIEW agent_silence AS
    SELECT q.machine_id, q.provider,
           CASE WHEN always.assumed THEN q.quiet_at
                ELSE greatest(q.quiet_at, coalesce(l.since, now()) + interval '10 minutes') END AS silent_at
    FROM agent_quiet q
    LEFT JOIN agent_listening always ON always.provider = '' AND always.assumed
    LEFT JOIN agent_listening_since l ON l.provider = q.provider;
