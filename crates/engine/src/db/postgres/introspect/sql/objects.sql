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
    SELECT a.no, t.typtype::text, t.typowner, coalesce(t.typacl, pg_catalog.acldefault('T', t.typowner)),
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
    'uses', (
        SELECT pg_catalog.json_build_object(
                   'columns', (
                       SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
                                  'table', pg_catalog.json_build_object('schema', cn.nspname, 'name', c.relname),
                                  'column', u.attname) ORDER BY cn.nspname COLLATE "C", c.relname COLLATE "C", u.attnum), '[]')
                         FROM pg_catalog.pg_attribute u
                         JOIN pg_catalog.pg_class c ON c.oid = u.attrelid AND c.relkind IN ('r', 'p')
                         JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
                        WHERE u.atttypid = t.oid AND u.attnum > 0 AND NOT u.attisdropped AND u.attinhcount = 0),
                   'others', (
                       SELECT coalesce(pg_catalog.json_agg(o.words ORDER BY o.words COLLATE "C"), '[]')
                         FROM (SELECT DISTINCT pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid)
                                 FROM pg_catalog.pg_depend d
                                 LEFT JOIN pg_catalog.pg_class c
                                   ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = d.objid
                                WHERE d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass
                                  AND d.refobjid IN (t.oid, t.typarray) AND d.deptype <> 'i'
                                  -- Columns are told above, those of views by what their query reads.
                                  AND NOT (d.refobjid = t.oid AND coalesce(c.relkind IN ('r', 'p', 'v', 'm'), false))
                                  -- What reads a column of the type hangs on it and is judged with it.
                                  AND NOT EXISTS (
                                      SELECT FROM pg_catalog.pg_depend h
                                        JOIN pg_catalog.pg_attribute u
                                          ON u.attrelid = h.refobjid AND u.attnum = h.refobjsubid AND u.atttypid = t.oid
                                       WHERE h.classid = d.classid AND h.objid = d.objid
                                         AND h.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass)) AS o (words)))
          FROM asked a
          JOIN pg_catalog.pg_namespace n ON n.nspname = a.schema
          JOIN pg_catalog.pg_type t ON t.typnamespace = n.oid AND t.typname = a.name
         WHERE a.no = f.no AND a.kind = 'type'),
    'needed_by', (
        SELECT coalesce(pg_catalog.json_agg(DISTINCT pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid)), '[]')
          FROM relation r
          JOIN pg_catalog.pg_constraint k ON k.conrelid = r.oid AND k.conname = r.part
          JOIN pg_catalog.pg_depend d
            ON d.refclassid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.refobjid = k.oid AND d.deptype = 'n'
         WHERE r.no = f.no AND r.kind = 'constraint'),
    'sequence', (
        SELECT pg_catalog.json_build_object(
                   'type_name', pg_catalog.format_type(q.seqtypid, NULL),
                   'counts', pg_catalog.json_build_object(
                       'start', q.seqstart, 'increment', q.seqincrement, 'min', q.seqmin, 'max', q.seqmax,
                       'cache', q.seqcache, 'cycle', q.seqcycle),
                   'defaults', (
                       SELECT coalesce(pg_catalog.json_agg(n.nspname || '.' || c.relname || '.' || a.attname), '[]')
                         FROM pg_catalog.pg_depend d
                         JOIN pg_catalog.pg_attrdef e ON e.oid = d.objid
                         JOIN pg_catalog.pg_class c ON c.oid = e.adrelid
                         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                         JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = e.adnum
                        WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = q.seqrelid
                          AND d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass),
                   'others', (
                       SELECT coalesce(pg_catalog.json_agg(pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid)), '[]')
                         FROM pg_catalog.pg_depend d
                        WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = q.seqrelid
                          AND d.classid <> 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.deptype = 'n'))
          FROM relation r
          JOIN pg_catalog.pg_sequence q ON q.seqrelid = r.oid
         WHERE r.no = f.no AND r.kind = 'relation'),
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
