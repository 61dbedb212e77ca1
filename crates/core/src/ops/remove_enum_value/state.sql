-- $1 regtype: what would be lost if somebody changed it: an enum's labels, its
-- owner, its comment and its grants. As text, for columns of records are not
-- compared when their collations differ.
SELECT (
    ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder),
    pg_get_userbyid(t.typowner)::text,
    obj_description(t.oid, 'pg_type'),
    ARRAY(SELECT concat_ws(' ', CASE g.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(g.grantee)::text END,
                           g.privilege_type, g.is_grantable::text) COLLATE "C"
            FROM aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) g
           WHERE g.grantee <> t.typowner
           ORDER BY 1))::text
  FROM pg_type t
 WHERE t.oid = $1
