-- $1 oid[]: user triggers, in the order in which PostgreSQL fires those of one kind.
SELECT json_build_object(
    'table', g.tgrelid::bigint,
    'name', g.tgname,
    'type', g.tgtype,
    'columns', (
        SELECT coalesce(json_agg(a.attname ORDER BY key.n), '[]')
          FROM unnest(g.tgattr::int2[]) WITH ORDINALITY AS key (attnum, n)
          JOIN pg_attribute a ON a.attrelid = g.tgrelid AND a.attnum = key.attnum),
    'enabled', g.tgenabled,
    'function', format('%I.%I', pn.nspname, p.proname)
)::text
  FROM pg_trigger g
  JOIN pg_proc p ON p.oid = g.tgfoid
  JOIN pg_namespace pn ON pn.oid = p.pronamespace
 WHERE g.tgrelid = ANY ($1) AND NOT g.tgisinternal
 ORDER BY g.tgrelid, g.tgname COLLATE "C"
