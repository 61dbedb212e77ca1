-- The first open range that nobody has. Its owner's word holds as long as its
-- term: the holder's lease, or the membership of a worker in this very term.
WITH alive AS (
    SELECT l.token::text AS token
    FROM pontoon.lease l
    WHERE l.run = $1 AND l.expires_at > pg_catalog.clock_timestamp()
    UNION ALL
    SELECT w.token::text
    FROM pontoon.worker w
    JOIN pontoon.lease l ON l.run = w.run AND l.token = w.term
    WHERE w.run = $1 AND w.expires_at > pg_catalog.clock_timestamp()
), free AS (
    SELECT r.no
    FROM pontoon.range r
    WHERE r.run = $1 AND r.step = $2 AND r.pass = $3 AND NOT r.done
      AND (r.owner IS NULL OR r.owner NOT IN (SELECT a.token FROM alive a))
      AND (r.rests_until IS NULL OR r.rests_until <= pg_catalog.clock_timestamp())
    ORDER BY r.no
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
UPDATE pontoon.range r
SET owner = $4, rests_until = NULL
FROM free
WHERE r.run = $1 AND r.step = $2 AND r.pass = $3 AND r.no = free.no
RETURNING r.no, r.schema_name, r.table_name, r.relid, r.filenode, r.cursor_kind, r.position, r.upper, r.done,
          r.rows, r.pages_done, r.pages_total, r.detail, r.owner
