SELECT o.id::text AS request,
    extract(epoch FROM o.until - pg_catalog.clock_timestamp())::text AS seconds
FROM (
    SELECT c.id,
        c.at + (c.command ->> 'seconds')::double precision * interval '1 second' AS until
    FROM pontoon.command c
    WHERE c.run = :run AND c.command ->> 'command' = 'unthrottle'
    ORDER BY c.id DESC
    LIMIT 1
) AS o
WHERE o.until > pg_catalog.clock_timestamp()
