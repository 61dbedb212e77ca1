-- Published tables, in version 14.
SELECT format('publication %I has table %s', p.pubname, r.prrelid::regclass)
FROM pg_publication_rel r
JOIN pg_publication p ON p.oid = r.prpubid
WHERE $1::text[] IS NOT NULL
