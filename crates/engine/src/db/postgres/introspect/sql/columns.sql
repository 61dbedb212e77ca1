-- $1 oid[]: one row per column that is not dropped.
--
-- Node trees are read as text for the functions that a default calls: they
-- write string constants as bytes, so a constant cannot imitate a field.
SELECT json_build_object(
    'table', a.attrelid::bigint,
    'name', a.attname,
    'position', a.attnum,
    'type_name', format_type(a.atttypid, a.atttypmod),
    'base_type', format_type(a.atttypid, -1),
    'collation', CASE WHEN a.attcollation <> 0 AND a.attcollation <> t.typcollation
                      THEN (SELECT format('%I.%I', cn.nspname, co.collname)
                              FROM pg_collation co JOIN pg_namespace cn ON cn.oid = co.collnamespace
                             WHERE co.oid = a.attcollation) END,
    'not_null', a.attnotnull AND NOT EXISTS (
        SELECT FROM pg_constraint k
         WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND k.conkey = ARRAY[a.attnum]
           AND NOT k.convalidated),
    'default', pg_get_expr(d.adbin, d.adrelid),
    'default_volatility', CASE
        WHEN d.adbin IS NULL THEN NULL
        WHEN d.adbin::text ~ '\{NEXTVALUEEXPR ' OR EXISTS (
            SELECT FROM regexp_matches(d.adbin::text, ':(?:op)?funcid (\d+) ', 'g') AS f (found)
              JOIN pg_proc p ON p.oid = f.found[1]::oid
             WHERE p.provolatile = 'v') THEN 'volatile'
        WHEN d.adbin::text ~ '\{(COERCEVIAIO|SQLVALUEFUNCTION|XMLEXPR|JSON[A-Z]+) ' OR EXISTS (
            SELECT FROM regexp_matches(d.adbin::text, ':(?:op)?funcid (\d+) ', 'g') AS f (found)
              JOIN pg_proc p ON p.oid = f.found[1]::oid
             WHERE p.provolatile <> 'i') THEN 'stable'
        ELSE 'immutable' END,
    'identity', a.attidentity,
    'generated', a.attgenerated,
    'comment', col_description(a.attrelid, a.attnum),
    'not_null_domain', t.typtype = 'd' AND (
        WITH RECURSIVE layer AS (
            SELECT t.typnotnull, t.typbasetype
            UNION ALL
            SELECT b.typnotnull, b.typbasetype
              FROM layer JOIN pg_type b ON b.oid = layer.typbasetype AND b.typtype = 'd'
        )
        SELECT bool_or(typnotnull) FROM layer),
    'type_default', t.typdefault IS NOT NULL,
    'settings', array_remove(ARRAY[
        CASE WHEN a.attstattarget >= 0 THEN 'SET STATISTICS ' || a.attstattarget END,
        CASE WHEN a.attstorage <> t.typstorage THEN 'SET STORAGE ' ||
            CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL'
                              WHEN 'x' THEN 'EXTENDED' WHEN 'm' THEN 'MAIN' END END,
        CASE a.attcompression WHEN 'p' THEN 'SET COMPRESSION pglz'
                              WHEN 'l' THEN 'SET COMPRESSION lz4' END,
        CASE WHEN a.attoptions IS NOT NULL
             THEN 'SET (' || array_to_string(a.attoptions, ', ') || ')' END], NULL),
    'grants', (
        SELECT coalesce(json_agg(json_build_object(
                   'grantee', CASE WHEN g.grantee <> 0 THEN pg_get_userbyid(g.grantee) END,
                   'privilege', g.privilege_type,
                   'grantable', g.is_grantable)), '[]')
          FROM aclexplode(a.attacl) g WHERE g.grantee <> c.relowner),
    'security_labels', (
        SELECT coalesce(json_agg(s.provider ORDER BY s.provider), '[]')
          FROM pg_seclabel s
         WHERE s.classoid = 'pg_class'::regclass AND s.objoid = a.attrelid AND s.objsubid = a.attnum),
    'inherited_from', (
        SELECT coalesce(json_agg(kn.nspname || '.' || k.relname ORDER BY h.inhseqno), '[]')
          FROM pg_inherits h
          JOIN pg_attribute pa ON pa.attrelid = h.inhparent AND pa.attname = a.attname
                              AND NOT pa.attisdropped
          JOIN pg_class k ON k.oid = h.inhparent
          JOIN pg_namespace kn ON kn.oid = k.relnamespace
         WHERE h.inhrelid = a.attrelid AND a.attinhcount > 0)
)::text
  FROM pg_attribute a
  JOIN pg_class c ON c.oid = a.attrelid
  JOIN pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attrelid = ANY ($1) AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attrelid, a.attnum
