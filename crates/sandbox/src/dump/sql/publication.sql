-- Publications as a whole. What differs between versions is read as JSON.
SELECT format('publication %I owner=%s settings=%s comment=%L', p.pubname, pg_get_userbyid(p.pubowner),
              to_jsonb(p) - 'oid' - 'pubname' - 'pubowner', obj_description(p.oid, 'pg_publication'))
FROM pg_publication p
WHERE $1::text[] IS NOT NULL
