-- $1 oid: the comments on the indexes of this relation.
SELECT c.relname::text, obj_description(c.oid, 'pg_class')
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
 WHERE i.indrelid = $1 AND obj_description(c.oid, 'pg_class') IS NOT NULL
