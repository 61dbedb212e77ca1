-- After a crash or a reset the statistics begin at 0; the planner's estimate
-- keeps the share from being out of all proportion.
SELECT m.measure, 'table ' || s.schemaname || '.' || s.relname AS subject, NULL AS unknown, m.value
FROM pg_catalog.pg_stat_all_tables s
JOIN pg_catalog.pg_class c ON c.oid = s.relid
CROSS JOIN LATERAL (VALUES
    ('limit', 100.0 * s.n_dead_tup
              / greatest(s.n_dead_tup + greatest(s.n_live_tup, c.reltuples, 0), 1)),
    ('rows', s.n_dead_tup)) AS m (measure, value)
WHERE s.relid IN (SELECT r.relid FROM pontoon.range r WHERE r.run = :run AND NOT r.done)
