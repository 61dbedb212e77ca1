-- $1 oid[]: one row per table, without its columns and what hangs on them.
SELECT json_build_object(
    'oid', c.oid::bigint,
    'schema', n.nspname,
    'name', c.relname,
    'kind', c.relkind,
    'unlogged', c.relpersistence <> 'p',
    'owner', pg_get_userbyid(c.relowner),
    'owned_by_us', pg_has_role(c.relowner, 'USAGE'),
    'comment', obj_description(c.oid, 'pg_class'),
    'rls_enabled', c.relrowsecurity,
    'rls_forced', c.relforcerowsecurity,
    'rls_applies', c.relkind IN ('r', 'p') AND row_security_active(c.oid),
    'policies', (
        SELECT coalesce(json_agg(p.polname ORDER BY p.polname COLLATE "C"), '[]')
          FROM pg_policy p WHERE p.polrelid = c.oid),
    'replica_identity', c.relreplident,
    'replica_index', (
        SELECT ic.relname
          FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid
         WHERE i.indrelid = c.oid AND i.indisreplident),
    'partition_strategy', pt.partstrat,
    'partition_expressions', pt.partexprs IS NOT NULL,
    'partition_columns', (
        SELECT coalesce(json_agg(a.attname ORDER BY key.n), '[]')
          FROM (SELECT attnum, min(n) AS n
                  FROM (SELECT u.attnum::int, u.n
                          FROM unnest(pt.partattrs::int2[]) WITH ORDINALITY AS u (attnum, n)
                         UNION ALL
                        SELECT m.found[1]::int, 1000 + m.n
                          FROM regexp_matches(pt.partexprs::text, ':varattno (\d+) ', 'g')
                               WITH ORDINALITY AS m (found, n)
                       ) AS every
                 GROUP BY attnum) AS key
          JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = key.attnum AND a.attnum > 0),
    'children', (
        SELECT coalesce(json_agg(json_build_object('schema', kn.nspname, 'name', k.relname)
                                 ORDER BY kn.nspname COLLATE "C", k.relname COLLATE "C"), '[]')
          FROM pg_inherits h
          JOIN pg_class k ON k.oid = h.inhrelid
          JOIN pg_namespace kn ON kn.oid = k.relnamespace
         WHERE h.inhparent = c.oid),
    'parents', (
        SELECT coalesce(json_agg(json_build_object('schema', kn.nspname, 'name', k.relname)
                                 ORDER BY h.inhseqno), '[]')
          FROM pg_inherits h
          JOIN pg_class k ON k.oid = h.inhparent
          JOIN pg_namespace kn ON kn.oid = k.relnamespace
         WHERE h.inhrelid = c.oid),
    'grants', (
        SELECT coalesce(json_agg(json_build_object(
                   'grantee', CASE WHEN g.grantee <> 0 THEN pg_get_userbyid(g.grantee) END,
                   'privilege', g.privilege_type,
                   'grantable', g.is_grantable)), '[]')
          FROM aclexplode(c.relacl) g WHERE g.grantee <> c.relowner),
    'security_labels', (
        SELECT coalesce(json_agg(s.provider ORDER BY s.provider), '[]')
          FROM pg_seclabel s
         WHERE s.classoid = 'pg_class'::regclass AND s.objoid = c.oid AND s.objsubid = 0),
    'pages', CASE WHEN c.relkind IN ('r', 'm')
                  THEN coalesce(pg_relation_size(c.oid), 0) / current_setting('block_size')::bigint
                  ELSE 0 END,
    'total_bytes', CASE WHEN c.relkind IN ('r', 'm')
                        THEN coalesce(pg_total_relation_size(c.oid), 0) ELSE 0 END,
    'known_pages', c.relpages,
    'known_rows', c.reltuples::float8
)::text
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_partitioned_table pt ON pt.partrelid = c.oid
 WHERE c.oid = ANY ($1)
 ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
