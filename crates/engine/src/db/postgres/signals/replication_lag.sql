-- One row for each standby; two receivers of one name are told apart by
-- their address, and the slower one counts.
SELECT name, pg_catalog.bool_and(readable) AS readable,
       coalesce(pg_catalog.max(seconds), 0)::double precision AS seconds
FROM (
    SELECT coalesce(nullif(r.application_name, ''), r.pid::text)
           || coalesce(' ' || pg_catalog.host(r.client_addr), '') AS name,
           r.state IS NOT NULL AS readable,
           CASE
               WHEN r.replay_lsn >= pg_catalog.pg_current_wal_lsn() THEN 0
               ELSE greatest(
                   coalesce(extract(epoch FROM r.replay_lag), 0),
                   coalesce(extract(epoch FROM pg_catalog.clock_timestamp() - r.reply_time) - 10, 0),
                   0)
           END AS seconds
    FROM pg_catalog.pg_stat_replication r
    -- What only receives the log (pg_receivewal) replays nothing.
    WHERE (r.state IS NULL OR (r.state IN ('streaming', 'catchup') AND r.replay_lsn IS NOT NULL))
      AND NOT EXISTS (
          SELECT FROM pg_catalog.pg_replication_slots s
          WHERE s.active_pid = r.pid AND s.slot_type = 'logical')
) AS each
GROUP BY name
