-- A run that nobody holds has nobody to ask.
UPDATE pontoon.run r
SET pause_requested = NULL,
    stop_requested = CASE WHEN l.token IS NOT NULL THEN $2 END,
    stop_requested_at = pg_catalog.clock_timestamp()
FROM pontoon.lease l
WHERE r.id = $1 AND l.run = r.id
