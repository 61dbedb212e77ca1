-- $1 oid, $2 name: the identity of a column, and the statements that move it:
-- the value is noted before the column goes with its sequence, $3 is the name
-- of the note. $4 is the name of the column that has the identity afterwards.
SELECT json_build_object(
    'always', a.attidentity = 'a',
    'options', options,
    'noted', format('SELECT set_config(%L, last_value || '' '' || is_called, true) FROM %I.%I', $3, n.nspname, c.relname),
    'made', ARRAY[
        format('ALTER TABLE %I.%I ALTER COLUMN %I ADD GENERATED %s AS IDENTITY (SEQUENCE NAME %I.%I %s)',
               tn.nspname, t.relname, $4, CASE a.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END,
               n.nspname, c.relname, options),
        format('SELECT setval(%L, split_part(current_setting(%L), '' '', 1)::bigint, split_part(current_setting(%2$L), '' '', 2)::boolean)',
               format('%I.%I', n.nspname, c.relname), $3)]
        || array_remove(ARRAY[CASE WHEN obj_description(c.oid, 'pg_class') IS NOT NULL THEN
               format('COMMENT ON SEQUENCE %I.%I IS %L', n.nspname, c.relname, obj_description(c.oid, 'pg_class')) END], NULL)
        || ARRAY(SELECT format('GRANT %s ON SEQUENCE %I.%I TO %s%s', g.privilege_type, n.nspname, c.relname,
                               CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END,
                               CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
                   FROM aclexplode(c.relacl) g WHERE g.grantee <> c.relowner))::text
  FROM pg_attribute a
  JOIN pg_class t ON t.oid = a.attrelid
  JOIN pg_namespace tn ON tn.oid = t.relnamespace
  JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum
                  AND d.classid = 'pg_class'::regclass AND d.deptype = 'i'
  JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_sequence s ON s.seqrelid = c.oid
  CROSS JOIN LATERAL (SELECT format('START %s INCREMENT %s %s %s CACHE %s %s', s.seqstart, s.seqincrement,
           -- The end of the old type is no wish of anybody's.
           CASE WHEN s.seqincrement > 0 OR s.seqmin <> least_of THEN 'MINVALUE ' || s.seqmin ELSE 'NO MINVALUE' END,
           CASE WHEN s.seqincrement < 0 OR s.seqmax <> greatest_of THEN 'MAXVALUE ' || s.seqmax ELSE 'NO MAXVALUE' END,
           s.seqcache, CASE WHEN s.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END) AS options
      FROM (SELECT CASE s.seqtypid WHEN 'int2'::regtype THEN 32767 WHEN 'int4'::regtype THEN 2147483647
                                   ELSE 9223372036854775807 END AS greatest_of,
                   CASE s.seqtypid WHEN 'int2'::regtype THEN -32768 WHEN 'int4'::regtype THEN -2147483648
                                   ELSE -9223372036854775808 END AS least_of) AS ends) AS made
 WHERE a.attrelid = $1 AND a.attname = $2 AND a.attidentity <> ''
