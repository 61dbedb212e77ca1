-- $3: who caused it; NULL: the holder of the lease.
INSERT INTO pontoon.event (run, event, by)
SELECT $1, $2, coalesce($3, (
    SELECT (l.holder ->> 'user') || '@' || (l.holder ->> 'host')
    FROM pontoon.lease l WHERE l.run = $1))
