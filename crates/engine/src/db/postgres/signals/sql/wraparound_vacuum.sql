WITH scanned AS (
    SELECT c.oid AS relid, c.reltoastrelid
    FROM pg_catalog.pg_class c
    WHERE c.oid IN (SELECT r.relid FROM pontoon.range r WHERE r.run = :run AND NOT r.done)
), holder AS (
    SELECT DISTINCT l.pid, l.relation
    FROM pg_catalog.pg_locks l
    WHERE l.locktype = 'relation' AND l.granted AND l.mode = 'ShareUpdateExclusiveLock'
      AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
      AND l.relation IN (SELECT s.relid FROM scanned s UNION SELECT s.reltoastrelid FROM scanned s)
), worker AS (
    -- An autovacuum worker belongs to a database and to no role.
    SELECT h.pid, h.relation, a.query
    FROM holder h
    JOIN pg_catalog.pg_stat_activity a ON a.pid = h.pid AND a.usesysid IS NULL
    WHERE a.query = '<insufficient privilege>'
       OR a.query LIKE 'autovacuum:%(to prevent wraparound)%'
)
SELECT 'limit' AS measure,
       'table ' || pg_catalog.string_agg(w.relation::pg_catalog.regclass::text, ', ' ORDER BY w.relation) AS subject,
       CASE WHEN pg_catalog.bool_or(w.query = '<insufficient privilege>') THEN ':hidden' END AS unknown,
       pg_catalog.count(DISTINCT w.pid) AS value
FROM worker w
