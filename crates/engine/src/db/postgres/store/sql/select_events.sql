SELECT pg_catalog.to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS at, by, event
FROM pontoon.event
WHERE run = $1
ORDER BY id
