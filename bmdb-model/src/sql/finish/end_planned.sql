-- Ends the attempts whose items are in the plan: each item is written once, with its end, its plan and its rest.
, finished AS MATERIALIZED (
    SELECT machine_id, process, lane, provider, eligible, plan_at, fence, ($10)[finish] AS permille,
           -- The item's was noted before its claim waited for a lane mate, if there was one.
           ($11)[finish] AS started_at, unproductive AS unproductive_before, quick,
           rest_initial_seconds, rest_maximum_seconds, flapping_within_seconds,
           eligible AND plan_at <= clock_timestamp() AS is_due
    FROM plan WHERE finish IS NOT NULL
)
