-- The tables that hold rows of a table: itself, its partitions, its
-- inheritance children; partitioned tables hold none. Order is that of names,
-- so that two processes list them alike.
WITH RECURSIVE tree (oid) AS (
    SELECT c.oid
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relname = $2
    UNION
    SELECT i.inhrelid
    FROM pg_catalog.pg_inherits i
    JOIN tree ON i.inhparent = tree.oid
)
SELECT c.oid, n.nspname::text AS schema_name, c.relname::text AS table_name, c.relkind::text AS kind,
       coalesce(pg_catalog.pg_relation_filenode(c.oid), 0::oid) AS filenode,
       pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::bigint AS pages,
       c.reltuples::double precision AS tuples,
       c.relpages::bigint AS tuple_pages
FROM tree
JOIN pg_catalog.pg_class c ON c.oid = tree.oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind NOT IN ('p', 'i', 'I')
ORDER BY n.nspname, c.relname
