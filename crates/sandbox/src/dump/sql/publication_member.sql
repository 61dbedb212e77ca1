-- Published tables with columns and filter, and published schemas, from version 15 on.
SELECT format('publication %I has table %s columns={%s} filter=%L', p.pubname, r.prrelid::regclass,
              (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname)
               FROM pg_attribute a WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs)),
              pg_get_expr(r.prqual, r.prrelid))
FROM pg_publication_rel r
JOIN pg_publication p ON p.oid = r.prpubid
UNION ALL
SELECT format('publication %I has schema %s', p.pubname, s.pnnspid::regnamespace)
FROM pg_publication_namespace s
JOIN pg_publication p ON p.oid = s.pnpubid
WHERE $1::text[] IS NOT NULL
