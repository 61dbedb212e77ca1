-- $1 one run, $2 all of a plan, $3 only unfinished ones.
SELECT r.id, r.plan, r.version, r.issue, r.definition, r.settings, r.base, r.live_settings, r.revision,
       -- Of the term that lasts now; their words may be a second old.
       (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                   'holder', w.holder, 'live', w.live,
                   'joined_at', pg_catalog.to_char(w.joined_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
                   'ranges', (SELECT pg_catalog.jsonb_agg(
                                         pg_catalog.format('%s.%s %s', g.schema_name, g.table_name, g.no) ORDER BY g.no)
                              FROM pontoon.range g
                              WHERE g.run = w.run AND g.owner = w.token::text AND NOT g.done))
                   ORDER BY w.joined_at)
        FROM pontoon.worker w
        JOIN pontoon.lease t ON t.run = w.run AND t.token = w.term
        WHERE w.run = r.id) AS workers,
       r.state, r.phase, r.gate, r.reason, r.error, r.pause_requested, r.rows_affected,
       pg_catalog.to_char(r.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS started_at,
       pg_catalog.to_char(r.finished_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS finished_at,
       pg_catalog.current_database()::text AS database,
       l.epoch, l.live,
       CASE WHEN l.token IS NOT NULL AND l.expires_at > pg_catalog.clock_timestamp() THEN l.holder END AS holder,
       (SELECT pg_catalog.jsonb_agg(
                   pg_catalog.jsonb_build_array(a.gate, a.by,
                       pg_catalog.to_char(a.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
                   ORDER BY a.at, a.gate)
        FROM pontoon.approval a WHERE a.run = r.id) AS approvals,
       (SELECT pg_catalog.to_char(o.until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
        FROM (SELECT c.at + (c.command ->> 'seconds')::double precision * interval '1 second' AS until
              FROM pontoon.command c
              WHERE c.run = r.id AND c.command ->> 'command' = 'unthrottle'
              ORDER BY c.id DESC LIMIT 1) AS o
        WHERE o.until > pg_catalog.clock_timestamp()) AS throttle_off_until,
       (SELECT pg_catalog.jsonb_agg(s.definition ORDER BY s.no)
        FROM pontoon.step s WHERE s.run = r.id) AS steps
FROM pontoon.run r
JOIN pontoon.lease l ON l.run = r.id
WHERE ($1::uuid IS NULL OR r.id = $1)
  AND ($2::text IS NULL OR r.plan = $2)
  AND (NOT $3::boolean OR r.state NOT IN ('completed', 'rolled_back'))
ORDER BY r.started_at DESC, r.id DESC
