SELECT p.phase,
       CASE WHEN p.blocks_total > 0 THEN p.blocks_done
            WHEN p.tuples_total > 0 THEN p.tuples_done
            ELSE p.lockers_done END AS done,
       CASE WHEN p.blocks_total > 0 THEN p.blocks_total
            WHEN p.tuples_total > 0 THEN p.tuples_total
            ELSE p.lockers_total END AS total,
       nullif(p.current_locker_pid, 0)::int4 AS waits_for
FROM pg_catalog.pg_stat_progress_create_index p
WHERE p.pid = $1
