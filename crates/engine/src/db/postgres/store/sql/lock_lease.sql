SELECT l.epoch, l.token, l.token IS NOT NULL AS held, l.holder,
       l.expires_at > pg_catalog.clock_timestamp() AS valid,
       pg_catalog.to_char(l.taken_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS taken_at,
       greatest(0, extract(epoch FROM l.expires_at - pg_catalog.clock_timestamp()))::double precision AS expires_in
FROM pontoon.lease l
WHERE l.run = $1
FOR UPDATE
