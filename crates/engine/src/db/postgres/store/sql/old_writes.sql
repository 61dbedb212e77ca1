-- For the sequences of each dual write ($1 seen, $2 conflicts, $3 its step):
-- the time of the last old-version write, or of the installation. A sequence
-- that is missing leaves everything unknown.
SELECT pg_catalog.to_regclass(w.seen) IS NOT NULL AS watched,
       l.last_ms IS NOT NULL AS written,
       pg_catalog.to_char(pg_catalog.to_timestamp(l.last_ms / 1000.0) AT TIME ZONE 'UTC',
                          'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS last_at,
       greatest(0, extract(epoch FROM pg_catalog.clock_timestamp()
           - coalesce(pg_catalog.to_timestamp(l.last_ms / 1000.0), s.finished_at)))::float8 AS idle,
       coalesce(pg_catalog.pg_sequence_last_value(pg_catalog.to_regclass(w.conflicts)), 0) AS conflicts
FROM unnest($1::text[], $2::text[], $3::int4[]) AS w (seen, conflicts, no)
JOIN pontoon.step s ON s.run = $4 AND s.no = w.no AND s.state = 'done'
LEFT JOIN LATERAL (
    SELECT pg_catalog.pg_sequence_last_value(pg_catalog.to_regclass(w.seen)) AS last_ms
) l ON true
