UPDATE pontoon.lease
SET token = NULL, holder = NULL, expires_at = NULL
WHERE run = $1 AND token = $2
