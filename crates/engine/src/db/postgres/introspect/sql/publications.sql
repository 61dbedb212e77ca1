-- $1 oid[]: which publications stream which table (15 and later). A partition
-- is streamed by the publications of its ancestors too, and then with their
-- column list and row filter.
WITH RECURSIVE line AS (
    SELECT oid AS relation, oid AS ancestor FROM unnest($1::oid[]) AS oid
    UNION
    SELECT line.relation, h.inhparent
      FROM line
      JOIN pg_class c ON c.oid = line.ancestor AND c.relispartition
      JOIN pg_inherits h ON h.inhrelid = line.ancestor
), streamed AS (
    SELECT line.relation, p.pubname, NULL::json AS columns, NULL::json AS filter_columns
      FROM line
      JOIN pg_class c ON c.oid = line.ancestor
      JOIN pg_publication p ON p.puballtables
        OR EXISTS (SELECT FROM pg_publication_namespace s
                    WHERE s.pnpubid = p.oid AND s.pnnspid = c.relnamespace)
    UNION ALL
    SELECT line.relation, p.pubname,
           CASE WHEN r.prattrs IS NOT NULL THEN (
               SELECT json_agg(a.attname ORDER BY a.attnum)
                 FROM pg_attribute a
                WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs::int2[])) END,
           CASE WHEN r.prqual IS NOT NULL THEN (
               SELECT coalesce(json_agg(a.attname ORDER BY a.attnum), '[]')
                 FROM pg_attribute a
                WHERE a.attrelid = r.prrelid AND a.attnum > 0 AND NOT a.attisdropped
                  AND r.prqual::text ~ (':varattno (' || a.attnum || '|0) ')) END
      FROM line
      JOIN pg_publication_rel r ON r.prrelid = line.ancestor
      JOIN pg_publication p ON p.oid = r.prpubid
)
SELECT json_build_object(
    'table', s.relation::bigint, 'name', s.pubname,
    'columns', (array_agg(s.columns) FILTER (WHERE s.columns IS NOT NULL))[1],
    'filter_columns', (array_agg(s.filter_columns) FILTER (WHERE s.filter_columns IS NOT NULL))[1])::text
  FROM streamed s
  JOIN pg_class c ON c.oid = s.relation
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p'
 GROUP BY s.relation, s.pubname
 ORDER BY s.relation, s.pubname COLLATE "C"
