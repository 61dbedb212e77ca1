-- $1 oid, $2 name: what hangs on this column and is written into the catalog
-- only, in the order in which it is made. The text that makes it comes from
-- written_again.sql; a view's is `made`. `after` is what it has beside that,
-- `gone` what takes it away, `refused` why it cannot follow. $3 text begins the
-- names of what is ours, $4 is the second column, $5 its type. $6 oid[], $7 text[]:
-- columns that are replaced together with it; views over those only are not
-- `own`: others may read them.
WITH RECURSIVE hanging AS (
    SELECT d.classid, d.objid
      FROM pg_depend d
      JOIN pg_attribute a ON a.attrelid = $1 AND a.attname = $2 AND NOT a.attisdropped
     WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = $1 AND d.refobjsubid = a.attnum
     GROUP BY 1, 2
), together AS (
    SELECT $1::oid AS relation, $2::text AS name, true AS own
    UNION ALL
    SELECT other.relation, other.name, false FROM unnest($6::oid[], $7::text[]) AS other (relation, name)
), view AS (
    SELECT w.ev_class AS oid, 1 AS level, together.own
      FROM together
      JOIN pg_attribute a ON a.attrelid = together.relation AND a.attname = together.name AND NOT a.attisdropped
      JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum
                      AND d.classid = 'pg_rewrite'::regclass
      JOIN pg_rewrite w ON w.oid = d.objid
     WHERE w.rulename = '_RETURN'
    UNION
    SELECT w.ev_class, view.level + 1, view.own
      FROM view
      JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = view.oid
                      AND d.classid = 'pg_rewrite'::regclass
      JOIN pg_rewrite w ON w.oid = d.objid AND w.ev_class <> view.oid
     WHERE view.level < 50 AND w.rulename = '_RETURN'
), ordered AS (
    SELECT oid, max(level) AS level, bool_or(own) AS own FROM view GROUP BY oid
), readers AS (
    -- Each with every one that it reads, itself first.
    SELECT oid AS reader, oid FROM ordered
    UNION
    SELECT readers.reader, ordered.oid
      FROM readers
      JOIN pg_rewrite w ON w.ev_class = readers.oid AND w.rulename = '_RETURN'
      JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
                      AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> readers.oid
      JOIN ordered ON ordered.oid = d.refobjid
), copied AS (
    -- Materialized views, which are filled before the cutover, and the views
    -- through which they are filled: others come for them, and get their names.
    SELECT DISTINCT readers.oid
      FROM readers JOIN pg_class c ON c.oid = readers.reader
     WHERE c.relkind = 'm'
), named AS (
    -- The name under which each is made.
    SELECT ordered.oid, ordered.level, ordered.own, CASE WHEN copied.oid IS NOT NULL THEN $3 || 'view_' || ordered.oid END AS copy,
           coalesce($3 || 'view_' || copied.oid, c.relname) AS called,
           CASE c.relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END AS word
      FROM ordered
      JOIN pg_class c ON c.oid = ordered.oid
      LEFT JOIN copied ON copied.oid = ordered.oid
), found AS (
    SELECT 1 AS rank, 0 AS level, 'policy' AS kind, p.polname::text AS name, NULL::text AS schema,
           NULL::text AS made,
           NULL::text AS options,
           ARRAY[format('COMMENT ON POLICY %I ON %s IS %L', p.polname, p.polrelid::regclass,
                        obj_description(p.oid, 'pg_policy'))] AS after,
           ARRAY[format('DROP POLICY %I ON %s', p.polname, p.polrelid::regclass)] AS gone,
           NULL::text AS refused, p.oid AS oid
      FROM hanging JOIN pg_policy p ON p.oid = hanging.objid
     WHERE hanging.classid = 'pg_policy'::regclass AND p.polrelid = $1
    UNION ALL
    SELECT 2, 0, 'trigger', t.tgname, NULL, NULL, NULL,
           CASE t.tgenabled WHEN 'O' THEN '{}'::text[] ELSE ARRAY[
               format('ALTER TABLE %s %s TRIGGER %I', t.tgrelid::regclass,
                      CASE t.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END,
                      t.tgname)] END
           || ARRAY[format('COMMENT ON TRIGGER %I ON %s IS %L', t.tgname, t.tgrelid::regclass,
                           obj_description(t.oid, 'pg_trigger'))],
           ARRAY[format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::regclass)],
           CASE WHEN EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_trigger'::regclass AND x.objid = t.oid AND x.deptype = 'x')
                THEN 'it depends on an extension' END, t.oid
      FROM hanging JOIN pg_trigger t ON t.oid = hanging.objid
     WHERE hanging.classid = 'pg_trigger'::regclass AND t.tgrelid = $1 AND NOT t.tgisinternal
    UNION ALL
    SELECT 2, 0, 'rule', w.rulename, NULL, NULL, NULL,
           CASE w.ev_enabled WHEN 'O' THEN '{}'::text[] ELSE ARRAY[
               format('ALTER TABLE %s %s RULE %I', w.ev_class::regclass,
                      CASE w.ev_enabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END,
                      w.rulename)] END
           || ARRAY[format('COMMENT ON RULE %I ON %s IS %L', w.rulename, w.ev_class::regclass,
                           obj_description(w.oid, 'pg_rewrite'))],
           ARRAY[format('DROP RULE %I ON %s', w.rulename, w.ev_class::regclass)],
           NULL, w.oid
      FROM hanging JOIN pg_rewrite w ON w.oid = hanging.objid
     WHERE hanging.classid = 'pg_rewrite'::regclass AND w.ev_class = $1
    UNION ALL
    SELECT 3, 0, 'statistics', s.stxname, n.nspname, NULL, NULL,
           array_remove(ARRAY[
               CASE WHEN s.stxstattarget >= 0 THEN format('ALTER STATISTICS %I.%I SET STATISTICS %s', n.nspname, $3 || s.stxname, s.stxstattarget) END,
               CASE WHEN s.stxowner <> (SELECT oid FROM pg_roles WHERE rolname = current_user)
                    THEN format('ALTER STATISTICS %I.%I OWNER TO %I', n.nspname, $3 || s.stxname, pg_get_userbyid(s.stxowner)) END,
               CASE WHEN obj_description(s.oid, 'pg_statistic_ext') IS NOT NULL
                    THEN format('COMMENT ON STATISTICS %I.%I IS %L', n.nspname, $3 || s.stxname, obj_description(s.oid, 'pg_statistic_ext')) END], NULL),
           '{}',
           CASE WHEN NOT has_schema_privilege(n.oid, 'CREATE') THEN 'our role may create nothing in schema ' || n.nspname
                WHEN NOT pg_has_role(s.stxowner, 'USAGE') THEN 'it belongs to ' || pg_get_userbyid(s.stxowner) END, s.oid
      FROM hanging
      JOIN pg_statistic_ext s ON s.oid = hanging.objid
      JOIN pg_namespace n ON n.oid = s.stxnamespace
     WHERE hanging.classid = 'pg_statistic_ext'::regclass
    UNION ALL
    SELECT 4, named.level, CASE v.relkind WHEN 'v' THEN 'view' ELSE 'materialized view' END, v.relname, n.nspname,
           pg_get_viewdef(v.oid), (SELECT string_agg(o, ', ') FROM (
               SELECT unnest(v.reloptions) UNION ALL
               SELECT 'toast.' || unnest(toast.reloptions) FROM pg_class toast WHERE toast.oid = v.reltoastrelid) AS every (o)),
           array_remove(ARRAY[
               CASE WHEN v.relowner <> (SELECT oid FROM pg_roles WHERE rolname = current_user)
                    THEN format('ALTER %s %I.%I OWNER TO %I', named.word, n.nspname, named.called, pg_get_userbyid(v.relowner)) END,
               CASE WHEN obj_description(v.oid, 'pg_class') IS NOT NULL
                    THEN format('COMMENT ON %s %I.%I IS %L', named.word, n.nspname, named.called, obj_description(v.oid, 'pg_class')) END], NULL)
           || ARRAY(SELECT format('COMMENT ON COLUMN %I.%I.%I IS %L', n.nspname, named.called, a.attname, col_description(v.oid, a.attnum))
                      FROM pg_attribute a
                     WHERE a.attrelid = v.oid AND a.attnum > 0 AND col_description(v.oid, a.attnum) IS NOT NULL ORDER BY a.attnum)
           || ARRAY(SELECT format('ALTER VIEW %I.%I ALTER COLUMN %I SET DEFAULT %s', n.nspname, named.called, a.attname, pg_get_expr(f.adbin, f.adrelid))
                      FROM pg_attrdef f JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
                     WHERE f.adrelid = v.oid ORDER BY a.attnum)
           -- Rights that every new view has (by ALTER DEFAULT PRIVILEGES) are not those that this one had.
           || ARRAY(SELECT DISTINCT format('REVOKE ALL ON %I.%I FROM %s', n.nspname, named.called,
                                  CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END)
                      FROM pg_default_acl da, aclexplode(da.defaclacl) g
                     WHERE da.defaclobjtype = 'r' AND g.grantee <> v.relowner)
           || ARRAY(SELECT format('GRANT %s ON %I.%I TO %s%s', g.privilege_type, n.nspname, named.called,
                                  CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END,
                                  CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
                      FROM aclexplode(v.relacl) g WHERE g.grantee <> v.relowner)
           || ARRAY(SELECT format('GRANT %s (%I) ON %I.%I TO %s%s', g.privilege_type, a.attname, n.nspname, named.called,
                                  CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END,
                                  CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
                      FROM pg_attribute a, aclexplode(a.attacl) g WHERE a.attrelid = v.oid AND g.grantee <> v.relowner),
           ARRAY[format('DROP %s %I.%I', named.word, n.nspname, v.relname)],
           CASE WHEN NOT pg_has_role(v.relowner, 'USAGE') THEN 'it belongs to ' || pg_get_userbyid(v.relowner)
                WHEN NOT has_schema_privilege(n.oid, 'CREATE') THEN 'our role may create nothing in schema ' || n.nspname
                WHEN NOT has_schema_privilege(v.relowner, n.oid, 'CREATE')
                THEN 'its owner, ' || pg_get_userbyid(v.relowner) || ', may create nothing in schema ' || n.nspname
                WHEN v.relname = (SELECT relname FROM pg_class WHERE oid = $1) OR EXISTS (
                    SELECT FROM ordered o JOIN pg_class other ON other.oid = o.oid
                     WHERE other.oid <> v.oid AND other.relname = v.relname)
                THEN 'the table, or another view over the column, has its name in another schema'
                WHEN v.relispopulated AND v.relkind = 'm' AND EXISTS (
                    SELECT FROM readers r JOIN pg_class m ON m.oid = r.oid
                     WHERE r.reader = v.oid AND m.relkind = 'm' AND NOT m.relispopulated)
                THEN 'it could not be filled, for it reads a materialized view that has not been populated'
                WHEN v.relreplident NOT IN ('d', 'n') THEN 'it has a replica identity'
                WHEN EXISTS (SELECT FROM pg_index i WHERE i.indrelid = v.oid AND NOT i.indisvalid) THEN 'an index of it is INVALID'
                WHEN EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_class'::regclass AND x.objid = v.oid AND x.deptype IN ('e', 'x'))
                THEN 'it belongs to an extension, or depends on one'
                WHEN EXISTS (SELECT FROM aclexplode(v.relacl) g WHERE g.grantor <> v.relowner)
                  OR v.relacl IS NOT NULL AND EXISTS (SELECT FROM aclexplode(v.relacl) g WHERE g.grantee = v.relowner
                              HAVING count(*) < (SELECT count(*) FROM aclexplode(acldefault('r', v.relowner))))
                THEN 'rights on it were granted by others than its owner, or taken from its owner'
                WHEN EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = v.oid) THEN 'it has triggers'
                WHEN EXISTS (SELECT FROM pg_rewrite w WHERE w.ev_class = v.oid AND w.rulename <> '_RETURN') THEN 'it has rules'
                WHEN EXISTS (SELECT FROM pg_seclabel l WHERE l.objoid = v.oid AND l.classoid = 'pg_class'::regclass) THEN 'it has a security label'
                ELSE (SELECT pg_describe_object(d.classid, d.objid, d.objsubid) || ' depends on it'
                        FROM pg_depend d
                       WHERE ((d.refclassid = 'pg_class'::regclass AND d.refobjid = v.oid)
                           OR (d.refclassid = 'pg_type'::regclass AND d.refobjid IN (v.reltype, (SELECT typarray FROM pg_type WHERE oid = v.reltype))))
                         AND NOT (d.classid = 'pg_rewrite'::regclass AND d.objid IN (
                             SELECT w.oid FROM pg_rewrite w JOIN ordered o ON o.oid = w.ev_class WHERE w.rulename = '_RETURN'))
                         -- A function's body lets it go, its signature does not.
                         AND NOT (d.classid = 'pg_proc'::regclass AND EXISTS (
                             SELECT FROM pg_proc p
                              WHERE p.oid = d.objid AND p.prosqlbody IS NOT NULL
                                AND NOT ARRAY[v.reltype, (SELECT typarray FROM pg_type WHERE oid = v.reltype)]
                                        && (p.prorettype || coalesce(p.proallargtypes, p.proargtypes::oid[]))))
                         AND NOT (d.classid = 'pg_type'::regclass AND d.objid IN (v.reltype, (SELECT typarray FROM pg_type WHERE oid = v.reltype)))
                         AND NOT (d.classid = 'pg_class'::regclass
                                  AND (d.objid = v.reltoastrelid OR d.objid IN (SELECT indexrelid FROM pg_index WHERE indrelid = v.oid)))
                         AND d.classid <> 'pg_attrdef'::regclass
                       LIMIT 1) END, v.oid
      FROM named
      JOIN pg_class v ON v.oid = named.oid
      JOIN pg_namespace n ON n.oid = v.relnamespace
    UNION ALL
    SELECT 5, 0, 'sequence', c.relname, n.nspname, NULL, NULL,
           array_remove(ARRAY[
               CASE WHEN wanted.oid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) AND wanted.oid <> s.seqtypid
                    THEN format('ALTER SEQUENCE %I.%I AS %s', n.nspname, c.relname, wanted.oid::regtype) END,
               format('ALTER SEQUENCE %I.%I OWNED BY %s.%I', n.nspname, c.relname, $1::regclass, $4)], NULL),
           '{}', NULL, c.oid
      FROM hanging
      JOIN pg_class c ON c.oid = hanging.objid AND c.relkind = 'S'
      JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_sequence s ON s.seqrelid = c.oid
      JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refobjid = $1 AND d.deptype = 'a'
      CROSS JOIN (SELECT to_regtype($5)::oid AS oid) AS wanted
     WHERE hanging.classid = 'pg_class'::regclass
)
SELECT json_build_object('kind', kind, 'name', name, 'schema', schema, 'made', made, 'options', options,
                         'after', after, 'gone', gone, 'refused', refused, 'oid', found.oid::bigint,
                         'own', coalesce(named.own, true), 'copy', named.copy,
                         'method', (SELECT a.amname FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE c.oid = found.oid),
                         'tablespace', (SELECT p.spcname FROM pg_class c JOIN pg_tablespace p ON p.oid = c.reltablespace
                                         WHERE c.oid = found.oid))::text
  FROM found
  LEFT JOIN named ON named.oid = found.oid AND found.rank = 4
 ORDER BY rank, found.level, schema COLLATE "C", name COLLATE "C"
