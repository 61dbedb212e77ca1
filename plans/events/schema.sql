-- Events by month, with a partition for what comes too late.

CREATE TABLE events (
    id          bigint GENERATED ALWAYS AS IDENTITY,
    occurred_at timestamptz NOT NULL,
    account_id  integer NOT NULL,
    kind        text NOT NULL,
    size        integer,
    payload     jsonb NOT NULL DEFAULT '{}',
    legacy_ref  text NOT NULL DEFAULT '',
    PRIMARY KEY (id, occurred_at)
) PARTITION BY RANGE (occurred_at);

CREATE TABLE events_2026_01 PARTITION OF events FOR VALUES FROM ('2026-01-01+00') TO ('2026-02-01+00');
CREATE TABLE events_2026_02 PARTITION OF events FOR VALUES FROM ('2026-02-01+00') TO ('2026-03-01+00');
CREATE TABLE events_2026_03 PARTITION OF events FOR VALUES FROM ('2026-03-01+00') TO ('2026-04-01+00')
    PARTITION BY HASH (id);
CREATE TABLE events_2026_03_0 PARTITION OF events_2026_03 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE events_2026_03_1 PARTITION OF events_2026_03 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE events_other PARTITION OF events DEFAULT;
CREATE INDEX events_account_idx ON events (account_id, occurred_at);

INSERT INTO events (occurred_at, account_id, kind, size, payload)
SELECT '2025-12-28+00'::timestamptz + n * interval '11 minutes', n % 50,
       (ARRAY['click', 'view', 'buy'])[1 + n % 3], CASE WHEN n % 7 <> 0 THEN n % 5000 END,
       jsonb_build_object('n', n, 'source', CASE WHEN n % 2 = 0 THEN 'web' ELSE 'app' END)
FROM generate_series(1, 12000) AS n;

ANALYZE;
