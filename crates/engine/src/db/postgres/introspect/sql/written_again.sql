-- $1 oid: what is written into the catalog over this table, as the text that
-- makes it again. Names that the search path finds stay without a schema, the
-- table's own as well, so that the same text makes it on another table of that
-- name.
SELECT 'policy' AS kind, p.polname::text AS name,
       format('CREATE POLICY %I ON %s AS %s FOR %s TO %s%s%s', p.polname, p.polrelid::regclass,
              CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
              CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
                            WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
              (SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END, ', ')
                 FROM unnest(p.polroles) r),
              ' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')',
              ' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')') AS made
  FROM pg_policy p
 WHERE p.polrelid = $1
UNION ALL
SELECT 'trigger', t.tgname, pg_get_triggerdef(t.oid, true)
  FROM pg_trigger t
 WHERE t.tgrelid = $1 AND NOT t.tgisinternal
UNION ALL
SELECT 'rule', w.rulename, pg_get_ruledef(w.oid, true)
  FROM pg_rewrite w
 WHERE w.ev_class = $1 AND w.rulename <> '_RETURN'
UNION ALL
SELECT 'statistics', s.stxname,
       CASE WHEN s.stxkind <> '{e}'
            THEN '(' || (SELECT string_agg(CASE k WHEN 'd' THEN 'ndistinct' WHEN 'f' THEN 'dependencies' WHEN 'm' THEN 'mcv' END, ', ')
                           FROM unnest(s.stxkind) k WHERE k <> 'e') || ') ' ELSE '' END
       || 'ON ' || pg_get_statisticsobjdef_columns(s.oid)
  FROM pg_statistic_ext s
 WHERE s.stxrelid = $1
UNION ALL
SELECT 'filter', k.conname, pg_get_expr(k.conbin, k.conrelid)
  FROM pg_constraint k
 WHERE k.conrelid = $1 AND k.contype = 'c' AND k.conname LIKE 'pontoon_filter_%'
