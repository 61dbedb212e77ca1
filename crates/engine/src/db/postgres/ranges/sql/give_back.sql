UPDATE pontoon.range
SET owner = NULL,
    rests_until = CASE WHEN $6::double precision > 0
                       THEN pg_catalog.clock_timestamp() + $6 * interval '1 microsecond' END
WHERE run = $1 AND step = $2 AND pass = $3 AND no = $4 AND owner = $5 AND NOT done
