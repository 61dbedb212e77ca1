-- Who may do what. An ACL of NULL means the default one, which is spelled out here, and the order of entries means nothing.
WITH scope AS (
  SELECT n.oid FROM pg_namespace n
  WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname <> ALL ($1)
), item (object, acl) AS (
  SELECT 'schema ' || quote_ident(n.nspname), coalesce(n.nspacl, acldefault('n', n.nspowner))
  FROM pg_namespace n JOIN scope USING (oid)
  UNION ALL
  SELECT 'relation ' || c.oid::regclass,
         coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))
  FROM pg_class c JOIN scope ON scope.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  UNION ALL
  SELECT 'column ' || a.attrelid::regclass || '.' || quote_ident(a.attname), a.attacl
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN scope ON scope.oid = c.relnamespace
  WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
  UNION ALL
  SELECT 'function ' || p.oid::regprocedure, coalesce(p.proacl, acldefault('f', p.proowner))
  FROM pg_proc p JOIN scope ON scope.oid = p.pronamespace
  UNION ALL
  SELECT 'type ' || format_type(t.oid, NULL), coalesce(t.typacl, acldefault('T', t.typowner))
  FROM pg_type t JOIN scope ON scope.oid = t.typnamespace
  WHERE t.typtype IN ('e', 'd', 'r', 'm') OR (t.typtype = 'c' AND EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
  UNION ALL
  SELECT format('default for %s of %s in %s', d.defaclobjtype, pg_get_userbyid(d.defaclrole),
                coalesce(d.defaclnamespace::regnamespace::text, '-')), d.defaclacl
  FROM pg_default_acl d
  UNION ALL
  SELECT 'database', coalesce(d.datacl, acldefault('d', d.datdba)) FROM pg_database d WHERE d.datname = current_database()
)
SELECT format('right on %s: %s may %s%s, granted by %s', object,
              CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END,
              x.privilege_type, CASE WHEN x.is_grantable THEN ' and grant it' ELSE '' END,
              quote_ident(pg_get_userbyid(x.grantor)))
FROM item, aclexplode(acl) x
