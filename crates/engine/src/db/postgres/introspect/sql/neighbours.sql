-- $1 text[]: schemas. Returns the tables in them, for a did-you-mean: at most
-- a few thousand, since a person wrote one of these names wrongly.
SELECT n.nspname::text, c.relname::text
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY ($1::text[])
   AND c.relkind IN ('r', 'p')
 ORDER BY c.oid
 LIMIT 5000
