-- A film rental shop, some years old: integer keys that run out, views that
-- read everything, names in two columns.

CREATE TYPE film_rating AS ENUM ('G', 'PG', 'PG-13', 'R', 'NC-17');
CREATE DOMAIN release_year AS integer CHECK (VALUE BETWEEN 1890 AND 2155);

CREATE TABLE store (
    store_id serial PRIMARY KEY,
    city     text NOT NULL
);

CREATE TABLE film (
    film_id      serial PRIMARY KEY,
    title        varchar(255) NOT NULL,
    description  text,
    released     release_year,
    rental_days  smallint NOT NULL DEFAULT 3,
    rental_rate  numeric(4, 2) NOT NULL DEFAULT 4.99,
    length       smallint CHECK (length > 0),
    rating       film_rating DEFAULT 'G',
    language     varchar(20) NOT NULL DEFAULT 'English',
    features     text[],
    changed_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE actor (
    actor_id   serial PRIMARY KEY,
    first_name text NOT NULL,
    last_name  text NOT NULL
);

CREATE TABLE film_actor (
    actor_id integer NOT NULL REFERENCES actor ON UPDATE CASCADE ON DELETE RESTRICT,
    film_id  integer NOT NULL REFERENCES film ON UPDATE CASCADE ON DELETE RESTRICT,
    PRIMARY KEY (actor_id, film_id)
);

CREATE TABLE customer (
    customer_id serial PRIMARY KEY,
    store_id    integer NOT NULL REFERENCES store,
    first_name  text NOT NULL,
    last_name   text NOT NULL,
    email       text,
    active      integer DEFAULT 1,
    created_on  date NOT NULL DEFAULT CURRENT_DATE
);

CREATE TABLE inventory (
    inventory_id serial PRIMARY KEY,
    film_id      integer NOT NULL REFERENCES film,
    store_id     integer NOT NULL REFERENCES store
);

CREATE TABLE rental (
    rental_id    serial PRIMARY KEY,
    rented_at    timestamp NOT NULL,
    inventory_id integer NOT NULL REFERENCES inventory,
    customer_id  integer NOT NULL REFERENCES customer,
    returned_at  timestamp,
    UNIQUE (rented_at, inventory_id, customer_id)
);

CREATE TABLE payment (
    payment_id  serial PRIMARY KEY,
    customer_id integer NOT NULL REFERENCES customer,
    rental_id   integer NOT NULL REFERENCES rental ON DELETE CASCADE,
    amount      numeric(5, 2) NOT NULL CHECK (amount >= 0),
    paid_at     timestamp NOT NULL
);

CREATE INDEX film_title_idx ON film (title varchar_pattern_ops);
CREATE INDEX customer_names_idx ON customer (last_name, first_name);
CREATE INDEX customer_store_idx ON customer (store_id) WHERE active = 1;
CREATE INDEX inventory_film_idx ON inventory (film_id, store_id);
CREATE INDEX rental_open_idx ON rental (inventory_id) WHERE returned_at IS NULL;
CREATE INDEX payment_rental_idx ON payment (rental_id) INCLUDE (amount);
CREATE STATISTICS payment_habits (dependencies) ON customer_id, rental_id FROM payment;
COMMENT ON COLUMN payment.amount IS 'What the till took, in dollars';

CREATE VIEW sales_by_store WITH (security_barrier) AS
    SELECT i.store_id, sum(p.amount) AS total, count(*) AS payments
    FROM payment AS p JOIN rental AS r USING (rental_id) JOIN inventory AS i USING (inventory_id)
    GROUP BY i.store_id;
CREATE VIEW best_store AS SELECT store_id FROM sales_by_store ORDER BY total DESC LIMIT 1;
GRANT SELECT ON sales_by_store TO PUBLIC;

INSERT INTO store (city) VALUES ('Lethbridge'), ('Woodridge');
INSERT INTO film (title, released, length, rating, language, features)
SELECT 'Film ' || n, 1950 + n % 70, 60 + n % 120, (enum_range(NULL::film_rating))[1 + n % 5],
       (ARRAY['English', 'Italian', 'Japanese'])[1 + n % 3],
       CASE WHEN n % 3 = 0 THEN ARRAY['Trailers', 'Deleted Scenes'] END
FROM generate_series(1, 500) AS n;
INSERT INTO actor (first_name, last_name)
SELECT 'First' || n, 'Last' || n FROM generate_series(1, 100) AS n;
INSERT INTO film_actor SELECT 1 + (n * 7) % 100, n FROM generate_series(1, 500) AS n;
INSERT INTO customer (store_id, first_name, last_name, email, active)
SELECT 1 + n % 2, 'Given' || n, 'Family' || n, CASE WHEN n % 5 <> 0 THEN 'C' || n || '@Example.com' END,
       CASE WHEN n % 9 = 0 THEN 0 ELSE 1 END
FROM generate_series(1, 600) AS n;
INSERT INTO inventory (film_id, store_id)
SELECT 1 + n % 500, 1 + n % 2 FROM generate_series(1, 2000) AS n;
INSERT INTO rental (rented_at, inventory_id, customer_id, returned_at)
SELECT '2026-01-01'::timestamp + n * interval '7 minutes', 1 + n % 2000, 1 + n % 600,
       CASE WHEN n % 20 <> 0 THEN '2026-01-03'::timestamp + n * interval '7 minutes' END
FROM generate_series(1, 6000) AS n;
INSERT INTO payment (customer_id, rental_id, amount, paid_at)
SELECT customer_id, rental_id, 0.99 + rental_id % 10, rented_at FROM rental;

ANALYZE;
