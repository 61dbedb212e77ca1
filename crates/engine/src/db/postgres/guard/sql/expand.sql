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
       pg_catalog.has_table_privilege(w.oid, 'UPDATE, DELETE, TRUNCATE') AS lockable
FROM wanted w
JOIN pg_catalog.pg_class c ON c.oid = w.oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p')
GROUP BY w.oid, n.nspname, c.relname
ORDER BY min(w.ordinal), min(w.depth), w.oid
