-- Memberships of other terms, and of processes that were not heard of for
-- their whole term. Whoever is about to renew one keeps it.
DELETE FROM pontoon.worker w
USING (
    SELECT o.token
    FROM pontoon.worker o
    LEFT JOIN pontoon.lease l ON l.run = o.run AND l.token = o.term
    WHERE o.run = $1 AND (l.run IS NULL OR o.expires_at < pg_catalog.clock_timestamp())
    FOR UPDATE OF o SKIP LOCKED
) AS over
WHERE w.token = over.token
RETURNING w.holder, w.live
