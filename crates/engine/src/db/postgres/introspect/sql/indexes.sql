-- $1 oid[]: one row per index of these tables.
SELECT json_build_object(
    'table', i.indrelid::bigint,
    'name', ic.relname,
    'method', am.amname,
    'unique', i.indisunique,
    'nulls_not_distinct', coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false),
    'keys', (
        SELECT json_agg(json_build_object(
                   'column', a.attname,
                   'expression', CASE WHEN a.attname IS NULL
                                      THEN pg_get_indexdef(i.indexrelid, n, false) END,
                   'opclass', CASE WHEN NOT op.opcdefault OR e.attoptions IS NOT NULL
                                   THEN format('%I.%I', opn.nspname, op.opcname) || coalesce((
                       SELECT ' (' || string_agg(format('%I=%L', left(o, position('=' IN o) - 1),
                                                        substr(o, position('=' IN o) + 1)), ', ') || ')'
                         FROM unnest(e.attoptions) AS o), '') END,
                   'collation', CASE WHEN i.indcollation[n - 1] <> 0
                                      AND i.indcollation[n - 1] <> coalesce(a.attcollation, et.typcollation)
                                     THEN format('%I.%I', con.nspname, co.collname) END,
                   'descending', i.indoption[n - 1] & 1 <> 0,
                   'nulls_first', i.indoption[n - 1] & 2 <> 0) ORDER BY n)
          FROM generate_series(1, i.indnkeyatts) AS n
          LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[n - 1]
                                  AND i.indkey[n - 1] <> 0
          LEFT JOIN pg_attribute e ON e.attrelid = i.indexrelid AND e.attnum = n
          LEFT JOIN pg_type et ON et.oid = e.atttypid
          LEFT JOIN pg_opclass op ON op.oid = i.indclass[n - 1]
          LEFT JOIN pg_namespace opn ON opn.oid = op.opcnamespace
          LEFT JOIN pg_collation co ON co.oid = i.indcollation[n - 1]
          LEFT JOIN pg_namespace con ON con.oid = co.collnamespace),
    'include', (
        SELECT coalesce(json_agg(a.attname ORDER BY n), '[]')
          FROM generate_series(i.indnkeyatts + 1, i.indnatts) AS n
          JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[n - 1]),
    'predicate', pg_get_expr(i.indpred, i.indrelid),
    'valid', i.indisvalid,
    'constraint', (
        SELECT k.conname FROM pg_constraint k
         WHERE k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')),
    'definition', pg_get_indexdef(i.indexrelid),
    'settings', json_build_object(
        'options', to_json(coalesce(ic.reloptions, '{}')),
        'tablespace', (SELECT spcname FROM pg_tablespace WHERE oid = ic.reltablespace),
        'statistics', (
            SELECT coalesce(json_agg(json_build_array(e.attnum, e.attstattarget) ORDER BY e.attnum), '[]')
              FROM pg_attribute e
             WHERE e.attrelid = i.indexrelid AND e.attnum > 0 AND e.attstattarget >= 0),
        'clustered', i.indisclustered)
)::text
  FROM pg_index i
  JOIN pg_class ic ON ic.oid = i.indexrelid
  JOIN pg_am am ON am.oid = ic.relam
 WHERE i.indrelid = ANY ($1)
 ORDER BY i.indrelid, ic.relname COLLATE "C"
