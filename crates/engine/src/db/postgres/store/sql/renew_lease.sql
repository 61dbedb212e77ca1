-- Brings back what operators asked for. Whoever asks for the run and does
-- not come for it within a minute is not waited for any more.
WITH renewed AS (
    UPDATE pontoon.lease
    SET expires_at = pg_catalog.clock_timestamp() + $3 * interval '1 microsecond',
        live = $4
    WHERE run = $1 AND token = $2
    RETURNING run
)
SELECT r.revision, r.pause_requested,
       EXISTS (SELECT FROM pontoon.worker w WHERE w.run = r.id AND w.term = $2) AS in_company,
       CASE WHEN r.stop_requested_at > pg_catalog.clock_timestamp() - interval '1 minute'
            THEN r.stop_requested END AS stop_requested
FROM renewed
JOIN pontoon.run r ON r.id = renewed.run
