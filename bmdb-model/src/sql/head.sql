-- Whether the candidate is due, and in how many milliseconds it is: at most a day, for infinity is not
-- a time that can be subtracted from. No row when there is none.
, head AS MATERIALIZED (
    SELECT ready_at <= now() AS due,
           ceil(1000 * extract(epoch FROM
               least(greatest(ready_at, now()), now() + interval '1 day') - now()))::bigint AS due_in
    FROM candidate
    WHERE ready_at IS NOT NULL
)
