-- How many machines a process may work on, and whether it may start at all. A claim has to pass this
-- besides the gates of its item. It is enforced by triggers, so every way to claim obeys: this release's
-- statements, those of components of the previous version, and SQL by hand.

-- The processes of which something below is said. A claim of any other process reads no more than this.
CREATE TABLE process_control (
    process text PRIMARY KEY CHECK (process ~ '^[A-Za-z][A-Za-z0-9_-]{0,62}$')
);

-- How much of a process runs at once, and how much starts within a window: in all, or in each partition
-- of the fleet. A partition is named by the provider of its machines; another kind of partition is one
-- more word here, and one more branch in partition_of.
CREATE TABLE process_limit (
    process text NOT NULL REFERENCES process_control,
    per text NOT NULL CHECK (per IN ('process', 'provider')),
    max_running integer NULL CHECK (max_running BETWEEN 1 AND 10000),
    max_starts integer NULL CHECK (max_starts BETWEEN 1 AND 10000),
    window_seconds integer NULL CHECK (window_seconds BETWEEN 1 AND 2678400),
    PRIMARY KEY (process, per),
    CHECK ((max_starts IS NULL) = (window_seconds IS NULL)),
    CHECK (max_running IS NOT NULL OR max_starts IS NOT NULL)
);

-- One row for each claim that a limit allows at a time. The condition, free_at, is in the row that a claim
-- locks, so two claims cannot take one slot. A slot of kind Running is taken until the attempt ends; one of
-- kind Start until the window has passed. Its number never changes and free_at has no index, so updates
-- are HOT.
CREATE TABLE process_slot (
    slot_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    process text NOT NULL,
    per text NOT NULL,
    -- '' is the process as a whole, or the machines without a provider.
    partition text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('Running', 'Start')),
    -- Above the limit's maximum only after that was lowered: such a slot is not taken again.
    number integer NOT NULL CHECK (number > 0),
    -- By which machine it was taken last, and when.
    machine_id uuid NULL,
    taken_at timestamptz NULL,
    free_at timestamptz NOT NULL DEFAULT '-infinity',
    UNIQUE (process, per, partition, kind, number),
    FOREIGN KEY (process, per) REFERENCES process_limit ON DELETE CASCADE
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000
);

-- When so much goes wrong at once that no program should go on by itself.
CREATE TABLE process_breaker (
    process text NOT NULL REFERENCES process_control,
    per text NOT NULL CHECK (per IN ('process', 'provider')),
    -- Trips when more machines than this need the process at once. With a share too, the larger of both
    -- counts: a share of a small fleet is less than one machine.
    max_due integer NULL CHECK (max_due BETWEEN 1 AND 100000000),
    max_due_percent numeric(6, 3) NULL CHECK (max_due_percent > 0 AND max_due_percent <= 100),
    -- Trips when so many attempts failed within the window.
    max_failures integer NULL CHECK (max_failures BETWEEN 1 AND 1000),
    failures_window_seconds integer NULL CHECK (failures_window_seconds BETWEEN 1 AND 2678400),
    -- NULL: until a person resumes.
    resume_after_seconds integer NULL CHECK (resume_after_seconds BETWEEN 1 AND 31622400),
    PRIMARY KEY (process, per),
    CHECK ((max_failures IS NULL) = (failures_window_seconds IS NULL)),
    CHECK (max_due IS NOT NULL OR max_due_percent IS NOT NULL OR max_failures IS NOT NULL)
);

-- What a breaker has seen of a partition.
CREATE TABLE process_breaker_state (
    process text NOT NULL,
    per text NOT NULL,
    partition text NOT NULL,
    due bigint NULL,
    population bigint NULL,
    evaluated_at timestamptz NULL,
    -- Until then a claim trusts the last count.
    evaluate_after timestamptz NOT NULL DEFAULT '-infinity',
    -- Since a person resumed. It is armed again as soon as no more machines than allowed need the process.
    disarmed boolean NOT NULL DEFAULT false,
    PRIMARY KEY (process, per, partition),
    FOREIGN KEY (process, per) REFERENCES process_breaker ON DELETE CASCADE
) WITH (fillfactor = 50);

-- When attempts failed, as long as a breaker counts them. Rows are inserted and deleted and never updated: ends
-- of different attempts do not wait for each other, and a batch of ends of several providers cannot wait for
-- another one in a circle.
CREATE TABLE process_failures (
    process text NOT NULL,
    per text NOT NULL,
    partition text NOT NULL,
    failed_at timestamptz NOT NULL,
    machine_id uuid NOT NULL,
    PRIMARY KEY (process, per, partition, failed_at, machine_id),
    FOREIGN KEY (process, per) REFERENCES process_breaker ON DELETE CASCADE
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000
);

-- While a row is in force, nothing of the process starts: on no machine, or on none of one provider.
CREATE TABLE process_pause (
    process text NOT NULL REFERENCES process_control,
    -- '' is all of them.
    provider text NOT NULL DEFAULT '',
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    until timestamptz NOT NULL DEFAULT 'infinity',
    source text NOT NULL DEFAULT 'Operator' CHECK (source IN ('Operator', 'Breaker', 'Attempt')),
    paused_by text NOT NULL CHECK (paused_by <> ''),
    reason text NOT NULL CHECK (reason <> ''),
    -- Whether what runs is to stop and be given back too. Runners look at it.
    stop_running boolean NOT NULL DEFAULT false,
    PRIMARY KEY (process, provider)
);

-- The slots of kind Running that the item's claim has taken; NULL where it met no limit and no breaker. So an
-- end knows from its row whether there is anything to do.
ALTER TABLE work_item ADD COLUMN slots bigint[] NULL;

CREATE FUNCTION partition_of(per text, provider text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE per WHEN 'process' THEN '' WHEN 'provider' THEN coalesce(provider, '') END
$$;

-- A free slot of a partition, locked until the end of the transaction; NULL if there is none. A claim that
-- meets a slot which another claim has locked takes the next one, so claims wait for each other only while
-- more runs than a lowered limit allows. Each begins at another number: so they seldom meet, and step over few
-- slots that are taken. All slots are read only if all but few are taken: a page for each forty.
CREATE FUNCTION lock_free_slot(asked process_limit, asked_partition text, asked_kind text, maximum integer)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    found_slot bigint;
    has_surplus boolean;
    begins integer := 1 + floor(random() * maximum);
    ends integer := maximum;
    has_made_slots boolean := false;
BEGIN
    LOOP
        SELECT s.slot_id, EXISTS (
                   SELECT FROM process_slot o
                   WHERE o.process = asked.process AND o.per = asked.per AND o.partition = asked_partition
                     AND o.kind = asked_kind AND o.number > maximum AND o.free_at > clock_timestamp())
        INTO found_slot, has_surplus
        FROM process_slot s
        WHERE s.process = asked.process AND s.per = asked.per AND s.partition = asked_partition
          AND s.kind = asked_kind AND s.number BETWEEN begins AND ends AND s.free_at <= clock_timestamp()
        ORDER BY s.number
        LIMIT 1 FOR NO KEY UPDATE OF s SKIP LOCKED;
        EXIT WHEN found_slot IS NOT NULL;
        IF begins > 1 THEN
            ends := begins - 1;
            begins := 1;
            CONTINUE;
        END IF;
        -- Its first claim makes the slots of a partition. Others do not wait for it, which may take as long as a
        -- transaction whose program was killed.
        IF has_made_slots OR EXISTS (
            SELECT FROM process_slot s
            WHERE s.process = asked.process AND s.per = asked.per AND s.partition = asked_partition
              AND s.kind = asked_kind AND s.number = maximum)
           OR NOT pg_try_advisory_xact_lock(hashtextextended(format(
               'process_slot %s %s %s %s', asked.process, asked.per, asked_partition, asked_kind), 0)) THEN
            RETURN NULL;
        END IF;
        INSERT INTO process_slot (process, per, partition, kind, number)
        SELECT asked.process, asked.per, asked_partition, asked_kind, n
        FROM generate_series(1, maximum) n
        ON CONFLICT DO NOTHING;
        has_made_slots := true;
        ends := maximum;
    END LOOP;
    -- After a limit was lowered, a free slot is not enough: the surplus counts too.
    IF has_surplus THEN
        PERFORM FROM process_limit l WHERE l.process = asked.process AND l.per = asked.per FOR NO KEY UPDATE;
        IF (SELECT count(*) FROM process_slot s
            WHERE s.process = asked.process AND s.per = asked.per AND s.partition = asked_partition
              AND s.kind = asked_kind AND s.free_at > clock_timestamp()) >= maximum THEN
            RETURN NULL;
        END IF;
    END IF;
    RETURN found_slot;
END $$;

-- Pauses a process, or one provider of it, because of its breaker; says whether it did. The partition of
-- machines without a provider has the name that stands for all, so its breaker pauses all.
CREATE FUNCTION pause_by_breaker(b process_breaker, asked_partition text, pause_until timestamptz, why text)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO process_pause (process, provider, until, source, paused_by, reason)
    VALUES (b.process, asked_partition, pause_until, 'Breaker', 'breaker', why)
    ON CONFLICT (process, provider) DO UPDATE
    SET since = excluded.since, until = excluded.until, source = excluded.source,
        paused_by = excluded.paused_by, reason = excluded.reason, stop_running = excluded.stop_running
    -- A pause that is in force stays as it is.
    WHERE process_pause.until <= clock_timestamp();
    RETURN FOUND;
END $$;

-- Stops a process, or one provider of it, until it is resumed, and records that.
CREATE FUNCTION trip_breaker(b process_breaker, asked_partition text, why text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF pause_by_breaker(b, asked_partition,
                        coalesce(clock_timestamp() + b.resume_after_seconds * interval '1 second', 'infinity'),
                        why) THEN
        INSERT INTO operator_action (process, verb, operator, reason, details)
        VALUES (b.process, 'TripBreaker', 'breaker', why,
                CASE WHEN asked_partition = '' THEN '{}'::jsonb
                     ELSE jsonb_build_object('provider', asked_partition) END);
    END IF;
END $$;

-- How many machines may need a process at once, out of so many.
CREATE FUNCTION breaker_threshold(b process_breaker, population bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT greatest(coalesce(b.max_due, 0), coalesce(floor(population * b.max_due_percent / 100), 0))::bigint
$$;

-- Whether so few machines need the process that the next one may start. Counts again when the last count is
-- older than twenty times what it took, so that counting costs a twentieth of one processor at most. One
-- claim counts, and the others go by the last count meanwhile.
CREATE FUNCTION breaker_allows(b process_breaker, asked_partition text) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    s process_breaker_state;
    locked process_breaker_state;
    workflow_view text;
    listed_only boolean;
    began timestamptz := clock_timestamp();
    -- NULL is the process as a whole.
    of_provider text := CASE WHEN b.per = 'provider' THEN asked_partition END;
    counted_due bigint;
    counted_population bigint;
    threshold bigint;
BEGIN
    IF b.max_due IS NULL AND b.max_due_percent IS NULL THEN
        RETURN true;
    END IF;
    SELECT * INTO s FROM process_breaker_state st
    WHERE st.process = b.process AND st.per = b.per AND st.partition = asked_partition;
    -- Not if the clock was set back.
    IF s.evaluate_after > began AND s.evaluated_at <= began THEN
        RETURN true;
    END IF;
    IF s.process IS NULL THEN
        INSERT INTO process_breaker_state (process, per, partition)
        VALUES (b.process, b.per, asked_partition) ON CONFLICT DO NOTHING;
    END IF;
    SELECT * INTO locked FROM process_breaker_state st
    WHERE st.process = b.process AND st.per = b.per AND st.partition = asked_partition
    FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN coalesce(s.evaluate_after > began - interval '1 second', false);
    END IF;
    -- Another claim may have counted since.
    s := locked;
    IF s.evaluate_after > began AND s.evaluated_at <= began THEN
        RETURN true;
    END IF;

    SELECT d.workflow, d.time_driven INTO workflow_view, listed_only
    FROM process_def d WHERE d.process = b.process;
    IF workflow_view IS NULL THEN
        RETURN true;
    END IF;
    BEGIN
        EXECUTE format(
            'SELECT count(*) FILTER (WHERE v.ready_at IS NULL OR v.ready_at <= clock_timestamp()), count(*)
             FROM %I v
             WHERE ($1 IS NULL OR coalesce(v.provider, '''') = $1)
               AND NOT EXISTS (SELECT FROM machine_hold h WHERE h.machine_id = v.machine_id)', workflow_view)
        INTO counted_due, counted_population USING of_provider;
        -- What was claimed or started within a window of its limits and is not due any more.
        EXECUTE format(
            'SELECT $3 + count(*) FROM (
                 SELECT i.machine_id FROM work_item i
                 WHERE i.session_id IS NOT NULL AND i.process = $2
                   AND ($1 IS NULL OR coalesce(i.provider, '''') = $1)
                 UNION
                 SELECT s.machine_id FROM process_slot s
                 WHERE s.process = $2 AND s.kind = ''Start'' AND s.free_at > clock_timestamp()
                   AND s.machine_id IS NOT NULL
                   AND ($1 IS NULL OR s.per = ''provider'' AND s.partition = $1
                        OR s.per <> ''provider'' AND EXISTS (
                            SELECT FROM machine_provided p WHERE p.machine_id = s.machine_id AND p.provider = $1))
             ) o
             WHERE NOT EXISTS (
                 SELECT FROM %I v WHERE v.machine_id = o.machine_id
                   AND (v.ready_at IS NULL OR v.ready_at <= clock_timestamp())
                   AND NOT EXISTS (SELECT FROM machine_hold h WHERE h.machine_id = v.machine_id))', workflow_view)
        INTO counted_due USING of_provider, b.process, counted_due;
    EXCEPTION
        WHEN transaction_rollback OR lock_not_available OR insufficient_resources OR operator_intervention
             OR system_error THEN
            RAISE;
        -- Nothing is known of machines whose workflow fails, so nothing starts: an error would fail claims of
        -- other processes in the same statement. For a minute, so that not every claim asks the view again
        -- and everybody can see why; without an audit record for each minute.
        WHEN OTHERS THEN
            PERFORM pause_by_breaker(b, asked_partition, clock_timestamp() + interval '1 minute', format(
                'the machines that need it cannot be counted, because its workflow %s fails: %s',
                workflow_view, left(SQLERRM, 200)));
            RETURN false;
    END;
    -- A workflow that is driven by time lists every machine that it looks after; any other one only those
    -- that need the process, out of all that have a provider.
    IF NOT listed_only THEN
        SELECT count(*) INTO counted_population FROM machine_provided p
        WHERE of_provider IS NULL OR p.provider = of_provider;
    END IF;
    counted_population := greatest(counted_population, counted_due);
    threshold := breaker_threshold(b, counted_population);
    UPDATE process_breaker_state st
    SET due = counted_due, population = counted_population, evaluated_at = began,
        evaluate_after = clock_timestamp() + least(20 * (clock_timestamp() - began), interval '1 minute'),
        disarmed = st.disarmed AND counted_due > threshold
    WHERE st.process = b.process AND st.per = b.per AND st.partition = asked_partition;
    IF counted_due <= threshold OR s.disarmed THEN
        RETURN true;
    END IF;
    PERFORM trip_breaker(b, asked_partition, format(
        '%s of %s machines need it at once, more than %s', counted_due, counted_population, threshold));
    RETURN false;
END $$;

-- Counts for each breaker that a person has disarmed whether it may be armed again. Janitors call it: while
-- nothing is due, no claim counts, and the breaker would not be there when it is needed next.
CREATE FUNCTION rearm_breakers() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT br AS breaker, st.partition
        FROM process_breaker_state st
        JOIN process_breaker br ON br.process = st.process AND br.per = st.per
        WHERE st.disarmed AND st.evaluate_after <= clock_timestamp()
        ORDER BY st.process, st.per, st.partition
    LOOP
        PERFORM breaker_allows(found.breaker, found.partition);
    END LOOP;
END $$;

-- Whether fewer attempts failed within the window than trip a breaker. Each failure asks, and each claim does
-- too: of two failures that are committed at the same time, neither sees the other.
CREATE FUNCTION failures_allow(b process_breaker, asked_partition text, last_cause text) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM process_failures f
    WHERE f.process = b.process AND f.per = b.per AND f.partition = asked_partition
      AND f.failed_at > clock_timestamp() - b.failures_window_seconds * interval '1 second'
    ORDER BY f.failed_at DESC
    OFFSET b.max_failures - 1 LIMIT 1;
    IF NOT FOUND THEN
        RETURN true;
    END IF;
    IF last_cause IS NULL THEN
        SELECT i.cause INTO last_cause FROM process_failures f
        JOIN work_item i ON i.machine_id = f.machine_id AND i.process = f.process
        WHERE f.process = b.process AND f.per = b.per AND f.partition = asked_partition
        ORDER BY f.failed_at DESC LIMIT 1;
    END IF;
    PERFORM trip_breaker(b, asked_partition, format(
        '%s attempts failed within %s, the last one because: %s', b.max_failures,
        b.failures_window_seconds * interval '1 second', coalesce(left(last_cause, 200), 'no reason given')));
    -- These have been answered. After the pause, counting begins again.
    DELETE FROM process_failures d
    WHERE d.ctid = ANY (ARRAY(
        SELECT f.ctid FROM process_failures f
        WHERE f.process = b.process AND f.per = b.per AND f.partition = asked_partition
        FOR UPDATE SKIP LOCKED));
    RETURN false;
END $$;

-- A claim takes a slot of each limit, or is left out of its statement.
CREATE FUNCTION start_within_limits() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    of_provider text;
    is_paused boolean;
    has_breaker boolean;
    l process_limit;
    b process_breaker;
    slot bigint;
    running bigint[] := '{}';
    starting bigint[] := '{}';
BEGIN
    -- The rest of this statement is for processes of which something is said.
    SELECT coalesce(NEW.provider, p.provider, ''), s.is_paused, s.has_breaker
    INTO of_provider, is_paused, has_breaker
    FROM process_control c
    LEFT JOIN machine_provided p ON NEW.provider IS NULL AND p.machine_id = NEW.machine_id
    CROSS JOIN LATERAL (
        SELECT EXISTS (SELECT FROM process_pause pp
                       WHERE pp.process = c.process AND pp.provider IN ('', coalesce(NEW.provider, p.provider, ''))
                         AND pp.until > clock_timestamp()) AS is_paused,
               EXISTS (SELECT FROM process_breaker br WHERE br.process = c.process) AS has_breaker) s
    WHERE c.process = NEW.process;
    IF NOT FOUND THEN
        RETURN NEW;
    END IF;
    -- A claim of a machine that may have no item yet inserts one, and updates the item that it meets: then
    -- it is the update that takes the slots.
    IF TG_OP = 'INSERT' THEN
        PERFORM FROM work_item i WHERE i.machine_id = NEW.machine_id AND i.process = NEW.process;
        IF FOUND THEN
            RETURN NEW;
        END IF;
    END IF;
    IF is_paused THEN
        RETURN NULL;
    END IF;
    IF has_breaker THEN
        FOR b IN SELECT * FROM process_breaker br WHERE br.process = NEW.process ORDER BY br.per LOOP
            IF b.max_failures IS NOT NULL AND NOT failures_allow(b, partition_of(b.per, of_provider), NULL)
               OR NOT breaker_allows(b, partition_of(b.per, of_provider)) THEN
                RETURN NULL;
            END IF;
        END LOOP;
        -- What a breaker goes by may be from a claim or an end that has tripped it since the first look.
        PERFORM FROM process_pause p
        WHERE p.process = NEW.process AND p.provider IN ('', of_provider) AND p.until > clock_timestamp();
        IF FOUND THEN
            RETURN NULL;
        END IF;
    END IF;
    FOR l IN SELECT * FROM process_limit pl WHERE pl.process = NEW.process ORDER BY pl.per LOOP
        IF l.max_running IS NOT NULL THEN
            slot := lock_free_slot(l, partition_of(l.per, of_provider), 'Running', l.max_running);
            IF slot IS NULL THEN
                RETURN NULL;
            END IF;
            running := running || slot;
        END IF;
        IF l.max_starts IS NOT NULL THEN
            slot := lock_free_slot(l, partition_of(l.per, of_provider), 'Start', l.max_starts);
            IF slot IS NULL THEN
                RETURN NULL;
            END IF;
            starting := starting || slot;
        END IF;
    END LOOP;
    IF running <> '{}' THEN
        UPDATE process_slot s
        SET machine_id = NEW.machine_id, taken_at = clock_timestamp(), free_at = 'infinity'
        WHERE s.slot_id = ANY (running);
    END IF;
    IF starting <> '{}' THEN
        UPDATE process_slot s
        SET machine_id = NEW.machine_id, taken_at = clock_timestamp(),
            -- An attempt is recorded as started a moment later, once it has got its lane. The second more
            -- is for that moment.
            free_at = clock_timestamp() + (pl.window_seconds + 1) * interval '1 second'
        FROM process_limit pl
        WHERE s.slot_id = ANY (starting) AND pl.process = s.process AND pl.per = s.per;
    END IF;
    NEW.slots := running;
    RETURN NEW;
END $$;

-- An attempt is recorded as started when it has got its lane, for which it may have had to wait. Then its
-- place in the window begins as late.
CREATE FUNCTION start_window_late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE process_slot s
    SET taken_at = clock_timestamp(), free_at = clock_timestamp() + (s.free_at - s.taken_at)
    WHERE s.process = NEW.process AND s.kind = 'Start' AND s.machine_id = NEW.machine_id
      AND s.taken_at >= NEW.started_at;
    RETURN NULL;
END $$;

-- The end of an attempt, by whatever statement, frees its slots; a failure is counted by the breakers.
CREATE FUNCTION end_within_limits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.slots <> '{}' THEN
        UPDATE process_slot s SET free_at = '-infinity' WHERE s.slot_id = ANY (OLD.slots);
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    IF NEW.failures > OLD.failures THEN
        PERFORM count_failure(NEW);
    END IF;
    NEW.slots := NULL;
    RETURN NEW;
END $$;

CREATE FUNCTION count_failure(failed work_item) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    b process_breaker;
    of_partition text;
BEGIN
    FOR b IN SELECT * FROM process_breaker br
             WHERE br.process = failed.process AND br.max_failures IS NOT NULL ORDER BY br.per LOOP
        of_partition := partition_of(b.per, coalesce(failed.provider, (
            SELECT p.provider FROM machine_provided p WHERE p.machine_id = failed.machine_id)));
        INSERT INTO process_failures (process, per, partition, failed_at, machine_id)
        VALUES (b.process, b.per, of_partition, clock_timestamp(), failed.machine_id);
        -- Each failure removes some that have passed, so there are never many.
        DELETE FROM process_failures d
        WHERE d.ctid = ANY (ARRAY(
            SELECT f.ctid FROM process_failures f
            WHERE f.process = b.process AND f.per = b.per AND f.partition = of_partition
              AND f.failed_at <= clock_timestamp() - b.failures_window_seconds * interval '1 second'
            ORDER BY f.failed_at LIMIT 10 FOR UPDATE SKIP LOCKED));
        PERFORM failures_allow(b, of_partition, failed.cause);
    END LOOP;
END $$;

-- The conditions are columns of the row, so a write that is neither claim nor end costs nothing more.
CREATE TRIGGER work_item_start BEFORE UPDATE ON work_item FOR EACH ROW
    WHEN (OLD.session_id IS NULL AND NEW.session_id IS NOT NULL)
    EXECUTE FUNCTION start_within_limits();
CREATE TRIGGER work_item_start_new BEFORE INSERT ON work_item FOR EACH ROW
    WHEN (NEW.session_id IS NOT NULL)
    EXECUTE FUNCTION start_within_limits();
CREATE TRIGGER work_item_started_late AFTER UPDATE ON work_item FOR EACH ROW
    WHEN (OLD.session_id IS NULL AND NEW.session_id IS NOT NULL
          AND clock_timestamp() > NEW.started_at + interval '500 milliseconds')
    EXECUTE FUNCTION start_window_late();
CREATE TRIGGER work_item_started_late_new AFTER INSERT ON work_item FOR EACH ROW
    WHEN (NEW.session_id IS NOT NULL
          AND clock_timestamp() > NEW.started_at + interval '500 milliseconds')
    EXECUTE FUNCTION start_window_late();
CREATE TRIGGER work_item_end BEFORE UPDATE ON work_item FOR EACH ROW
    WHEN (OLD.slots IS NOT NULL AND NEW.session_id IS NULL)
    EXECUTE FUNCTION end_within_limits();
CREATE TRIGGER work_item_end_gone BEFORE DELETE ON work_item FOR EACH ROW
    WHEN (OLD.slots IS NOT NULL)
    EXECUTE FUNCTION end_within_limits();

-- Makes the slots agree with the limits of a process and with what is claimed. A change of a limit calls it in
-- the same transaction, after LOCK TABLE work_item IN SHARE ROW EXCLUSIVE MODE: no claim and no end is under
-- way then.
CREATE FUNCTION fit_slots(asked_process text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    l process_limit;
BEGIN
    -- Running slots are given out again to what is claimed, in the order of the claims.
    DELETE FROM process_slot s WHERE s.process = asked_process AND s.kind = 'Running';
    FOR l IN SELECT * FROM process_limit pl WHERE pl.process = asked_process LOOP
        IF l.max_running IS NOT NULL THEN
            INSERT INTO process_slot (process, per, partition, kind, number, machine_id, taken_at, free_at)
            SELECT asked_process, l.per, c.partition, 'Running',
                   row_number() OVER (PARTITION BY c.partition ORDER BY c.started_at, c.machine_id),
                   c.machine_id, c.started_at, 'infinity'
            FROM (SELECT i.machine_id, i.started_at,
                         partition_of(l.per, coalesce(i.provider, p.provider)) AS partition
                  FROM work_item i LEFT JOIN machine_provided p ON p.machine_id = i.machine_id
                  WHERE i.session_id IS NOT NULL AND i.process = asked_process) c;
            INSERT INTO process_slot (process, per, partition, kind, number)
            SELECT asked_process, l.per, k.partition, 'Running', n
            FROM (SELECT DISTINCT s.partition FROM process_slot s
                  WHERE s.process = asked_process AND s.per = l.per AND s.kind = 'Running') k
            CROSS JOIN generate_series(1, l.max_running) n
            ON CONFLICT DO NOTHING;
        END IF;
        IF l.max_starts IS NOT NULL THEN
            -- A start stays in the window, whatever its length now; what is claimed started too.
            UPDATE process_slot s
            SET free_at = s.taken_at + (l.window_seconds + 1) * interval '1 second'
            WHERE s.process = asked_process AND s.per = l.per AND s.kind = 'Start' AND s.taken_at IS NOT NULL;
            INSERT INTO process_slot (process, per, partition, kind, number, machine_id, taken_at, free_at)
            SELECT asked_process, l.per, c.partition, 'Start',
                   c.numbered + coalesce((SELECT max(s.number) FROM process_slot s
                       WHERE s.process = asked_process AND s.per = l.per AND s.partition = c.partition
                         AND s.kind = 'Start'), 0),
                   c.machine_id, c.started_at, c.started_at + (l.window_seconds + 1) * interval '1 second'
            FROM (SELECT i.machine_id, i.started_at, k.partition,
                         row_number() OVER (PARTITION BY k.partition ORDER BY i.started_at) AS numbered
                  FROM work_item i LEFT JOIN machine_provided p ON p.machine_id = i.machine_id
                  CROSS JOIN LATERAL (
                      SELECT partition_of(l.per, coalesce(i.provider, p.provider)) AS partition) k
                  WHERE i.session_id IS NOT NULL AND i.process = asked_process
                    AND NOT EXISTS (SELECT FROM process_slot s
                                    WHERE s.process = asked_process AND s.per = l.per AND s.kind = 'Start'
                                      AND s.machine_id = i.machine_id AND s.taken_at >= i.started_at - interval '1 minute')
                 ) c;
            INSERT INTO process_slot (process, per, partition, kind, number)
            SELECT asked_process, l.per, k.partition, 'Start', n
            FROM (SELECT DISTINCT s.partition FROM process_slot s
                  WHERE s.process = asked_process AND s.per = l.per AND s.kind = 'Start') k
            CROSS JOIN generate_series(1, l.max_starts) n
            ON CONFLICT DO NOTHING;
            -- What was above a maximum that was lowered, and has passed.
            DELETE FROM process_slot s
            WHERE s.process = asked_process AND s.per = l.per AND s.kind = 'Start'
              AND s.number > l.max_starts AND s.free_at <= clock_timestamp();
        ELSE
            DELETE FROM process_slot s
            WHERE s.process = asked_process AND s.per = l.per AND s.kind = 'Start';
        END IF;
    END LOOP;
    -- In one write for each item: a second one in the same transaction would lock the item's session, whose
    -- janitor may hold that lock while it waits for this transaction.
    UPDATE work_item i
    SET slots = CASE WHEN EXISTS (SELECT FROM process_limit pl WHERE pl.process = asked_process)
                       OR EXISTS (SELECT FROM process_breaker pb WHERE pb.process = asked_process)
                     THEN coalesce(t.slots, '{}') END
    FROM (SELECT w.machine_id, array_agg(s.slot_id) FILTER (WHERE s.slot_id IS NOT NULL) AS slots
          FROM work_item w
          LEFT JOIN process_slot s ON s.process = w.process AND s.machine_id = w.machine_id
               AND s.kind = 'Running' AND s.free_at = 'infinity'
          WHERE w.session_id IS NOT NULL AND w.process = asked_process
          GROUP BY w.machine_id) t
    WHERE i.machine_id = t.machine_id AND i.process = asked_process;
END $$;

-- Everything that keeps a process from starting on the machines of a provider now, or would: a row for each
-- pause in force, with room 0, and for each limit, with the number of claims that it still allows. The only
-- home of this for everything that people read; a claim is decided by the rows themselves.
CREATE FUNCTION process_gates(asked_process text, asked_provider text) RETURNS TABLE (
    gate text, room integer, per text, kind text, maximum integer, taken integer, window_seconds integer,
    opens_at timestamptz, source text, paused_by text, reason text, since timestamptz, stop_running boolean
) LANGUAGE sql STABLE AS $$
    SELECT 'Paused', 0, CASE p.provider WHEN '' THEN 'process' ELSE 'provider' END,
           NULL::text, NULL::integer, NULL::integer, NULL::integer,
           CASE WHEN isfinite(p.until) THEN p.until END, p.source, p.paused_by, p.reason, p.since, p.stop_running
    FROM process_pause p
    WHERE p.process = asked_process AND p.provider IN ('', coalesce(asked_provider, ''))
      AND p.until > clock_timestamp()
    UNION ALL
    SELECT 'Limited', greatest(k.maximum - t.taken, 0), l.per, k.kind, k.maximum, t.taken,
           CASE k.kind WHEN 'Start' THEN l.window_seconds END,
           CASE WHEN t.taken >= k.maximum THEN t.next_free_at END, NULL, NULL, NULL, NULL, NULL
    FROM process_limit l
    CROSS JOIN LATERAL (VALUES ('Running', l.max_running), ('Start', l.max_starts)) k (kind, maximum)
    CROSS JOIN LATERAL (
        -- After a limit was lowered, the surplus has to become free first. Clients cannot read infinity.
        SELECT count(*)::integer AS taken,
               (array_agg(CASE WHEN isfinite(s.free_at) THEN s.free_at END ORDER BY s.free_at))
                   [greatest(count(*) - k.maximum + 1, 1)] AS next_free_at
        FROM process_slot s
        WHERE s.process = l.process AND s.per = l.per AND s.partition = partition_of(l.per, asked_provider)
          AND s.kind = k.kind AND s.free_at > clock_timestamp()
    ) t
    WHERE l.process = asked_process AND k.maximum IS NOT NULL
$$;

-- The actions on a process as a whole, the latest first.
CREATE INDEX operator_action_process ON operator_action (process, action_id)
    WHERE process IS NOT NULL AND machine_id IS NULL;
