SELECT no, definition, state, undone, attempts, wait_ms, hold_ms, rows, detail
FROM pontoon.step
WHERE run = $1
ORDER BY no
