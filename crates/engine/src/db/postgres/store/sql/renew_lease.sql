UPDATE pontoon.lease
SET expires_at = pg_catalog.clock_timestamp() + $3 * interval '1 microsecond',
    live = $4
WHERE run = $1 AND token = $2
