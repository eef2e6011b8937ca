-- Ends the attempts whose items are in the plan: each item is written once, with its end, its plan and its rest.
, finished AS MATERIALIZED (
    SELECT machine_id, process, lane, provider, eligible, plan_at, fence, started_at,
           ($10)[finish] AS permille, unproductive AS unproductive_before, quick,
           rest_initial_seconds, rest_maximum_seconds, flapping_within_seconds,
           eligible AND plan_at <= clock_timestamp() AS is_due
    FROM plan WHERE finish IS NOT NULL
)
