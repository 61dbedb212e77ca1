-- $1 oid, $2 name, $3 name: publications whose column list or row filter names
-- this column of the table (15 and later). `columns` has the third name in its
-- place.
SELECT json_build_object(
    'name', p.pubname,
    'columns', ' (' || (
        SELECT string_agg(quote_ident(CASE a.attname WHEN $2 THEN $3 ELSE a.attname END), ', ' ORDER BY a.attnum)
          FROM pg_attribute a
         WHERE a.attrelid = $1 AND a.attnum = ANY (r.prattrs::int2[])) || ')',
    'filter', pg_get_expr(r.prqual, r.prrelid),
    'ours', pg_has_role(p.pubowner, 'USAGE'))::text
  FROM pg_publication_rel r
  JOIN pg_publication p ON p.oid = r.prpubid
 WHERE r.prrelid = $1
   AND EXISTS (SELECT FROM pg_depend d
                 JOIN pg_attribute a ON a.attrelid = $1 AND a.attname = $2 AND a.attnum = d.refobjsubid
                WHERE d.classid = 'pg_publication_rel'::regclass AND d.objid = r.oid
                  AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1)
 ORDER BY p.pubname COLLATE "C"
