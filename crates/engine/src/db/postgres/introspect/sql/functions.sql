-- $1 oid, $2 name, $3 oid[]: functions and procedures whose SQL body reads this
-- column, or one of these views. `head` is how the text begins that makes one
-- again, `body` how it ends. `refused` says why it cannot follow.
SELECT json_build_object(
    'oid', p.oid::bigint,
    'kind', CASE p.prokind WHEN 'p' THEN 'procedure' ELSE 'function' END,
    'name', p.proname,
    'definition', pg_get_functiondef(p.oid),
    'head', format('CREATE OR REPLACE %s %I.%I(', CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END,
                   n.nspname, p.proname),
    'body', pg_get_function_sqlbody(p.oid),
    'refused', CASE
        WHEN NOT pg_has_role(p.proowner, 'USAGE') THEN 'it belongs to ' || pg_get_userbyid(p.proowner)
        WHEN NOT has_schema_privilege(n.oid, 'CREATE') THEN 'our role may create nothing in schema ' || n.nspname
        WHEN EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_proc'::regclass AND x.objid = p.oid AND x.deptype = 'e')
        THEN 'it belongs to an extension'
        WHEN EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_proc'::regclass AND x.objid = p.oid AND x.deptype = 'x')
        THEN 'it depends on an extension' END)::text
  FROM pg_proc p
  JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE p.prosqlbody IS NOT NULL
   AND EXISTS (SELECT FROM pg_depend d
                WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
                  AND (d.refclassid = 'pg_class'::regclass
                       AND (d.refobjid = $1 AND d.refobjsubid = (SELECT a.attnum FROM pg_attribute a
                                                                  WHERE a.attrelid = $1 AND a.attname = $2)
                            OR d.refobjid = ANY ($3))
                    OR d.refclassid = 'pg_type'::regclass
                       AND d.refobjid IN (SELECT t.oid FROM pg_type t WHERE t.typrelid = ANY ($3))))
 ORDER BY n.nspname COLLATE "C", p.proname COLLATE "C", p.oid
