-- From the tables that a step names ($1 schemas, $2 names, $3 strength of the
-- lock, 1 weakest to 8; $4 whether partitions and inheritance children follow
-- with the same mode) to every table that its locks reach. (With several
-- arguments, unnest is PostgreSQL's own only while it is not qualified.)
WITH RECURSIVE wanted AS (
    SELECT c.oid, w.strength, w.recurse, w.ordinal, 0 AS depth
    FROM unnest($1::text[], $2::text[], $3::int4[], $4::bool[])
         WITH ORDINALITY AS w (schema_name, table_name, strength, recurse, ordinal)
    JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema_name
    JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.table_name
    UNION
    SELECT i.inhrelid, t.strength, t.recurse, t.ordinal, t.depth + 1
    FROM wanted t
    JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid AND t.recurse
)
SELECT w.oid, n.nspname::text AS schema_name, c.relname::text AS table_name,
       max(w.strength) AS strength,
       -- LOCK TABLE asks for more than the owner's DDL needs on a foreign
       -- key's other table; there the DDL takes its lock itself.
       c.relkind <> 'm' AND pg_catalog.has_table_privilege(w.oid, 'UPDATE, DELETE, TRUNCATE') AS lockable
FROM wanted w
JOIN pg_catalog.pg_class c ON c.oid = w.oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
-- LOCK TABLE locks all that a view reads as well, as strongly. So a view is
-- locked beforehand only where that is wanted anyway: whoever reads it has its
-- lock first and that of the table after it, and so must we.
-- No materialized view can be named there, and DROP locks it later.
WHERE c.relkind IN ('r', 'p', 'm')
   OR c.relkind = 'v' AND NOT EXISTS (
        SELECT
        FROM pg_catalog.pg_rewrite r
        JOIN pg_catalog.pg_depend d
          ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
         AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> c.oid
        JOIN pg_catalog.pg_class below ON below.oid = d.refobjid
        WHERE r.ev_class = c.oid
          AND (below.relkind NOT IN ('r', 'p')
               -- LOCK TABLE asks the view's owner, or whoever uses it, for rights on what it reads.
               OR NOT pg_catalog.has_table_privilege(
                    CASE WHEN 'security_invoker=true' = ANY (c.reloptions) THEN CURRENT_USER ELSE pg_catalog.pg_get_userbyid(c.relowner) END,
                    below.oid, 'UPDATE, DELETE, TRUNCATE')
               OR NOT EXISTS (
                    SELECT FROM wanted b
                    WHERE b.oid = below.oid AND b.strength >= w.strength
                      AND (b.recurse OR NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = b.oid)))))
GROUP BY w.oid, n.nspname, c.relname, c.relkind
ORDER BY min(w.ordinal), min(w.depth), w.oid
