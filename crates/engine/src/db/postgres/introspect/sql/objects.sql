-- $1 int8[]: numbers, returned with what is found; $2 text[]: what kind of thing
-- it is; $3, $4 text[]: schema and name of it, or of the table it belongs to;
-- $5 text[]: its name there.
WITH asked AS (
    SELECT *
      FROM pg_catalog.unnest($1::int8[]) WITH ORDINALITY AS n (no, place)
      JOIN pg_catalog.unnest($2::text[]) WITH ORDINALITY AS k (kind, place) USING (place)
      JOIN pg_catalog.unnest($3::text[]) WITH ORDINALITY AS s (schema, place) USING (place)
      JOIN pg_catalog.unnest($4::text[]) WITH ORDINALITY AS a (name, place) USING (place)
      JOIN pg_catalog.unnest($5::text[]) WITH ORDINALITY AS p (part, place) USING (place)
), relation AS (
    SELECT a.*, c.oid, c.relkind, c.relowner, c.relacl, c.reloptions, c.reltoastrelid
      FROM asked a
      JOIN pg_catalog.pg_namespace n ON n.nspname = a.schema
      JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = a.name
     WHERE a.kind IN ('relation', 'constraint', 'trigger', 'policy')
), part AS (
    SELECT r.no, r.relowner, pg_catalog.obj_description(k.oid, 'pg_constraint') AS comment
      FROM relation r
      JOIN pg_catalog.pg_constraint k ON k.conrelid = r.oid AND k.conname = r.part
     WHERE r.kind = 'constraint'
    UNION ALL
    SELECT r.no, r.relowner, pg_catalog.obj_description(t.oid, 'pg_trigger')
      FROM relation r
      JOIN pg_catalog.pg_trigger t ON t.tgrelid = r.oid AND t.tgname = r.part AND NOT t.tgisinternal
     WHERE r.kind = 'trigger'
    UNION ALL
    SELECT r.no, r.relowner, pg_catalog.obj_description(p.oid, 'pg_policy')
      FROM relation r
      JOIN pg_catalog.pg_policy p ON p.polrelid = r.oid AND p.polname = r.part
     WHERE r.kind = 'policy'
), found AS (
    SELECT r.no, r.relkind::text AS kind, r.relowner AS owner, r.relacl AS acl,
           pg_catalog.obj_description(r.oid, 'pg_class') AS comment,
           (SELECT pg_catalog.json_agg(o.option ORDER BY o.option COLLATE "C")
              FROM (SELECT own.option
                      FROM pg_catalog.unnest(r.reloptions) AS own (option)
                     UNION ALL
                    SELECT 'toast.' || his.option
                      FROM pg_catalog.pg_class t
                     CROSS JOIN LATERAL pg_catalog.unnest(t.reloptions) AS his (option)
                     WHERE t.oid = r.reltoastrelid) AS o (option)) AS options,
           NULL::json AS labels,
           CASE WHEN r.relkind IN ('v', 'm') THEN pg_catalog.pg_get_viewdef(r.oid) END AS definition,
           NULL::json AS extension
      FROM relation r
     WHERE r.kind = 'relation'
    UNION ALL
    SELECT part.no, NULL, part.relowner, NULL, part.comment, NULL, NULL, NULL, NULL
      FROM part
    UNION ALL
    SELECT a.no, NULL, n.nspowner, n.nspacl,
           pg_catalog.obj_description(n.oid, 'pg_namespace'), NULL, NULL, NULL, NULL
      FROM asked a
      JOIN pg_catalog.pg_namespace n ON n.nspname = a.name
     WHERE a.kind = 'schema'
    UNION ALL
    SELECT a.no, t.typtype::text, t.typowner, t.typacl,
           pg_catalog.obj_description(t.oid, 'pg_type'), NULL,
           (SELECT pg_catalog.json_agg(e.enumlabel ORDER BY e.enumsortorder)
              FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid), NULL, NULL
      FROM asked a
      JOIN pg_catalog.pg_namespace n ON n.nspname = a.schema
      JOIN pg_catalog.pg_type t ON t.typnamespace = n.oid AND t.typname = a.name
     WHERE a.kind = 'type'
    UNION ALL
    SELECT a.no, NULL, r.oid, NULL, NULL, NULL, NULL, NULL, NULL
      FROM asked a
      JOIN pg_catalog.pg_roles r ON r.rolname = a.name
     WHERE a.kind = 'role'
    UNION ALL
    SELECT a.no, NULL, coalesce(e.extowner, (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = CURRENT_USER)),
           NULL, pg_catalog.obj_description(e.oid, 'pg_extension'), NULL, NULL, NULL,
           pg_catalog.json_build_object(
               'installed', e.extversion,
               'schema', (SELECT n.nspname FROM pg_catalog.pg_namespace n WHERE n.oid = e.extnamespace),
               'fixed_schema', (SELECT v.schema FROM pg_catalog.pg_available_extension_versions v
                                 WHERE v.name = x.name LIMIT 1),
               'available', (SELECT coalesce(pg_catalog.json_agg(v.version ORDER BY v.version), '[]')
                               FROM pg_catalog.pg_available_extension_versions v WHERE v.name = x.name))
      FROM asked a
      JOIN pg_catalog.pg_available_extensions x ON x.name = a.name
      LEFT JOIN pg_catalog.pg_extension e ON e.extname = x.name
     WHERE a.kind = 'extension'
)
SELECT pg_catalog.json_build_object(
    'no', f.no,
    'kind', f.kind,
    'owner', pg_catalog.pg_get_userbyid(f.owner),
    'owned_by_us', pg_catalog.pg_has_role(f.owner, 'USAGE'),
    'comment', f.comment,
    'options', coalesce(f.options, '[]'),
    'labels', coalesce(f.labels, '[]'),
    'definition', f.definition,
    'extension', f.extension,
    'grants', (
        SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
                   'grantee', CASE WHEN g.grantee <> 0 THEN pg_catalog.pg_get_userbyid(g.grantee) END,
                   'privilege', g.privilege_type,
                   'grantable', g.is_grantable)
                   ORDER BY g.grantee <> 0, pg_catalog.pg_get_userbyid(g.grantee) COLLATE "C",
                            g.privilege_type COLLATE "C"), '[]')
          FROM pg_catalog.aclexplode(f.acl) g WHERE g.grantee <> f.owner)
)::text
  FROM found f
