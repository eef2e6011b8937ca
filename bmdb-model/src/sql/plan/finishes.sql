,
           CASE WHEN i.session_id = $8 THEN array_position($9, i.fence) END AS finish,
           i.fence, i.unproductive, /* quick_finishes */ AS quick,
           w.rest_initial_seconds, w.rest_maximum_seconds, w.flapping_within_seconds
