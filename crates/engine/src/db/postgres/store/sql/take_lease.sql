UPDATE pontoon.lease
SET epoch = epoch + 1,
    token = pg_catalog.gen_random_uuid(),
    holder = $2,
    taken_at = pg_catalog.clock_timestamp(),
    expires_at = pg_catalog.clock_timestamp() + $3 * interval '1 microsecond'
WHERE run = $1
RETURNING epoch, token,
          pg_catalog.to_char(pg_catalog.timezone('UTC', pg_catalog.pg_postmaster_start_time()),
                             'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS server
