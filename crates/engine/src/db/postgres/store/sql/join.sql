-- Joins the holder of this term, if there is one.
INSERT INTO pontoon.worker (run, term, holder, expires_at)
SELECT l.run, l.token, $2, pg_catalog.clock_timestamp() + $3 * interval '1 microsecond'
FROM pontoon.lease l
WHERE l.run = $1 AND l.token IS NOT NULL
RETURNING token,
          (SELECT l.epoch FROM pontoon.lease l WHERE l.run = $1) AS epoch,
          pg_catalog.to_char(pg_catalog.timezone('UTC', pg_catalog.pg_postmaster_start_time()),
                             'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS server
