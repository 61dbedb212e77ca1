-- Open ranges, and in how many seconds the first one has rested.
SELECT count(*) AS open,
       extract(epoch FROM min(r.rests_until) - pg_catalog.clock_timestamp())::double precision AS rested_in
FROM pontoon.range r
WHERE r.run = $1 AND r.step = $2 AND r.pass = $3 AND NOT r.done
