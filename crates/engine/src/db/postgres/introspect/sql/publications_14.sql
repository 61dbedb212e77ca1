-- $1 oid[]: which publications stream which table. A partition is streamed by
-- the publications of its ancestors too. Before 15 there were no column
-- lists, no row filters and no publications of schemas.
WITH RECURSIVE line AS (
    SELECT oid AS relation, oid AS ancestor FROM unnest($1::oid[]) AS oid
    UNION
    SELECT line.relation, h.inhparent
      FROM line
      JOIN pg_class c ON c.oid = line.ancestor AND c.relispartition
      JOIN pg_inherits h ON h.inhrelid = line.ancestor
)
SELECT json_build_object(
    'table', line.relation::bigint, 'name', p.pubname, 'columns', NULL, 'filter_columns', NULL)::text
  FROM line
  JOIN pg_class c ON c.oid = line.relation
  JOIN pg_publication p ON p.puballtables
    OR EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = line.ancestor)
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p'
 GROUP BY line.relation, p.pubname
 ORDER BY line.relation, p.pubname COLLATE "C"
