-- The tables that foreign keys of this table ($1, $2) point to: those that
-- use the column $3, or all of them.
SELECT DISTINCT n.nspname::text AS schema_name, f.relname::text AS table_name
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
JOIN pg_catalog.pg_class f ON f.oid = k.confrelid
JOIN pg_catalog.pg_namespace n ON n.oid = f.relnamespace
WHERE k.contype = 'f'
  AND cn.nspname = $1 AND c.relname = $2
  AND f.oid <> c.oid
  AND ($3::text IS NULL OR EXISTS (
      SELECT FROM pg_catalog.pg_attribute a
      WHERE a.attrelid = c.oid AND a.attname = $3 AND a.attnum = ANY (k.conkey)))
ORDER BY 1, 2
