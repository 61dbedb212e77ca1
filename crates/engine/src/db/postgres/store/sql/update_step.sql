UPDATE pontoon.step
SET state = $3,
    undone = coalesce($4, undone),
    rows = coalesce($5, rows),
    detail = coalesce($6, detail),
    started_at = CASE WHEN $3 = 'pending' THEN NULL ELSE coalesce(started_at, pg_catalog.clock_timestamp()) END,
    finished_at = CASE WHEN $3 IN ('done', 'undone') THEN pg_catalog.clock_timestamp() END
WHERE run = $1 AND no = $2
