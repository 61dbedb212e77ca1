SELECT state, settings, base, live_settings,
       session_user::text AS role,
       pg_catalog.host(pg_catalog.inet_client_addr()) AS address,
       pg_catalog.to_char(pg_catalog.clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS now
FROM pontoon.run
WHERE id = $1
FOR NO KEY UPDATE
