-- No row: the term that it had joined is over, or others took it for dead.
WITH renewed AS (
    UPDATE pontoon.worker w
    SET expires_at = pg_catalog.clock_timestamp() + $3 * interval '1 microsecond',
        live = $4
    FROM pontoon.lease l
    WHERE w.run = $1 AND w.token = $2 AND l.run = w.run AND l.token = w.term
    RETURNING w.run
)
SELECT r.revision, r.pause_requested, NULL::text AS stop_requested, true AS in_company
FROM renewed
JOIN pontoon.run r ON r.id = renewed.run
