-- A NULL state or phase leaves it; each nullable column has a flag beside it
-- that says whether it changes.
UPDATE pontoon.run
SET state = coalesce($2, state),
    phase = coalesce($3, phase),
    gate = CASE WHEN $4 THEN $5 ELSE gate END,
    reason = CASE WHEN $6 THEN $7 ELSE reason END,
    error = CASE WHEN $8 THEN $9 ELSE error END,
    pause_requested = CASE WHEN $10 THEN NULL ELSE pause_requested END,
    -- Whoever asked for the run has it now.
    stop_requested = CASE WHEN $2 IS DISTINCT FROM 'rolling_back' THEN stop_requested END,
    finished_at = CASE
        WHEN $2 IS NULL THEN finished_at
        WHEN $2 IN ('completed', 'rolled_back') THEN coalesce(finished_at, pg_catalog.clock_timestamp())
    END
WHERE id = $1
