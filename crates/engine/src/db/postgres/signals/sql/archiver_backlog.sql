-- Segments are numbered through by the second and third part of their names.
WITH size AS (
    SELECT pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size')) AS bytes
), named AS (
    SELECT substring(a.last_archived_wal FROM '^[0-9A-F]{24}') AS archived,
           substring(a.last_failed_wal FROM '^[0-9A-F]{24}') AS failed,
           pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()) AS current
    FROM pg_catalog.pg_stat_archiver a
), numbered AS (
    SELECT n.name, (4294967296 / size.bytes) * ('x' || substr(n.wal, 9, 8))::bit(32)::bigint
                   + ('x' || substr(n.wal, 17, 8))::bit(32)::bigint AS no
    FROM named
    CROSS JOIN size
    CROSS JOIN LATERAL (VALUES ('archived', named.archived), ('failed', named.failed), ('current', named.current)) AS n (name, wal)
), at AS (
    SELECT max(no) FILTER (WHERE name = 'archived') AS archived,
           max(no) FILTER (WHERE name = 'failed') AS failed,
           max(no) FILTER (WHERE name = 'current') AS current
    FROM numbered
)
SELECT 'limit' AS measure, NULL AS subject,
       CASE WHEN coalesce(at.archived, at.failed) IS NULL THEN 'count the files' END AS unknown,
       greatest(at.current - coalesce(at.archived + 1, at.failed), 0) AS value
FROM at
WHERE pg_catalog.current_setting('archive_mode') <> 'off'
