-- $1 oid[]: constraints of these tables, and foreign keys that point at them.
--
-- A foreign key that touches a partitioned table has copies: `copy_of_own`
-- belongs to the same referencing table (one per referenced partition),
-- `copy_of_parent` points at the same referenced table (one per referencing
-- partition). Columns that only later versions have are read through
-- to_jsonb, which simply lacks the key on earlier ones.
SELECT json_build_object(
    'table', k.conrelid::bigint,
    'table_schema', rn.nspname,
    'table_name', r.relname,
    'name', k.conname,
    'contype', k.contype,
    'validated', k.convalidated,
    'deferrable', k.condeferrable,
    'deferred', k.condeferred,
    'unusual', coalesce((to_jsonb(k) ->> 'conperiod')::boolean, false)
            OR NOT coalesce((to_jsonb(k) ->> 'conenforced')::boolean, true),
    'columns', CASE WHEN k.contype = 'c' AND k.conbin::text ~ ':varattno 0 ' THEN (
            SELECT json_agg(a.attname ORDER BY a.attnum)
              FROM pg_attribute a
             WHERE a.attrelid = k.conrelid AND a.attnum > 0 AND NOT a.attisdropped)
        ELSE (
            SELECT coalesce(json_agg(a.attname ORDER BY key.n), '[]')
              FROM unnest(k.conkey) WITH ORDINALITY AS key (attnum, n)
              JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = key.attnum) END,
    'expression', pg_get_expr(k.conbin, k.conrelid),
    'referenced', k.confrelid::bigint,
    'referenced_schema', fn.nspname,
    'referenced_name', f.relname,
    'referenced_columns', (
        SELECT coalesce(json_agg(a.attname ORDER BY key.n), '[]')
          FROM unnest(k.confkey) WITH ORDINALITY AS key (attnum, n)
          JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = key.attnum),
    'on_delete', k.confdeltype,
    'on_update', k.confupdtype,
    'match_full', k.confmatchtype = 'f',
    'definition', pg_get_constraintdef(k.oid),
    'copy_of_own', coalesce(up.conrelid = k.conrelid, false),
    'copy_of_parent', coalesce(up.confrelid = k.confrelid, false)
)::text
  FROM pg_constraint k
  JOIN pg_class r ON r.oid = k.conrelid
  JOIN pg_namespace rn ON rn.oid = r.relnamespace
  LEFT JOIN pg_class f ON f.oid = k.confrelid
  LEFT JOIN pg_namespace fn ON fn.oid = f.relnamespace
  LEFT JOIN pg_constraint up ON up.oid = k.conparentid
 WHERE (k.conrelid = ANY ($1) OR k.confrelid = ANY ($1))
   AND k.contype <> 't'
   AND (k.contype <> 'n' OR NOT k.convalidated)
 ORDER BY rn.nspname COLLATE "C", r.relname COLLATE "C", k.conname COLLATE "C"
