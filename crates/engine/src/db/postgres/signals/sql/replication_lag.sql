-- Two receivers of one name are told apart by their address, and the slower
-- one counts.
WITH standby AS (
    SELECT 'standby ' || coalesce(nullif(r.application_name, ''), r.pid::text)
           || coalesce(' ' || pg_catalog.host(r.client_addr), '') AS subject,
           r.state IS NOT NULL AS readable,
           CASE
               WHEN r.replay_lsn >= pg_catalog.pg_current_wal_lsn() THEN 0
               ELSE greatest(
                   coalesce(extract(epoch FROM r.replay_lag), 0),
                   coalesce(extract(epoch FROM pg_catalog.clock_timestamp() - r.reply_time) - 10, 0),
                   0)
           END AS seconds,
           greatest(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), r.replay_lsn), 0) AS bytes
    FROM pg_catalog.pg_stat_replication r
    -- What only receives the log (pg_receivewal) replays nothing.
    WHERE (r.state IS NULL OR (r.state IN ('streaming', 'catchup') AND r.replay_lsn IS NOT NULL))
      AND coalesce(r.application_name, '') <> ALL (:except)
      AND NOT EXISTS (
          SELECT FROM pg_catalog.pg_replication_slots s
          WHERE s.active_pid = r.pid AND s.slot_type = 'logical')
), slot AS (
    SELECT 'slot ' || s.slot_name AS subject, s.safe_wal_size,
           pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn) AS retained
    FROM pg_catalog.pg_replication_slots s
    WHERE s.restart_lsn IS NOT NULL AND s.wal_status IS DISTINCT FROM 'lost'
      AND s.slot_name <> ALL (:except)
)
SELECT m.measure, s.subject,
       CASE WHEN NOT pg_catalog.bool_and(s.readable) THEN ':hidden' END AS unknown,
       pg_catalog.max(m.value) AS value
FROM standby s
CROSS JOIN LATERAL (VALUES ('limit', s.seconds), ('bytes', s.bytes)) AS m (measure, value)
GROUP BY m.measure, s.subject
UNION ALL
SELECT 'slot_retained', s.subject, NULL, s.retained
FROM slot s
UNION ALL
-- What is kept and what may still be written are together what the slot may
-- take; the setting itself is rounded to segments and has a floor.
SELECT 'slot_used', s.subject || ', ' || pg_catalog.pg_size_pretty(s.safe_wal_size) || ' left', NULL,
       100.0 * s.retained / greatest(s.retained + s.safe_wal_size, 1)
FROM slot s
WHERE s.safe_wal_size IS NOT NULL
