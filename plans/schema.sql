-- A small shop. The sample plans beside this file run against it, one after
-- the other or each on a fresh copy.

CREATE TABLE customers (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email      text NOT NULL,
    full_name  text NOT NULL,
    phone      text,
    fax        text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE products (
    id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sku   text NOT NULL UNIQUE,
    name  text NOT NULL,
    price numeric(12, 2) NOT NULL CHECK (price >= 0)
);

CREATE TABLE orders (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL,
    status      text,
    currency    text,
    total       numeric(12, 2) NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE order_items (
    order_id   bigint NOT NULL REFERENCES orders (id),
    product_id bigint NOT NULL REFERENCES products (id),
    quantity   integer NOT NULL,
    price      numeric(12, 2) NOT NULL,
    PRIMARY KEY (order_id, product_id)
);

CREATE TABLE payments (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id bigint NOT NULL REFERENCES orders (id),
    amount   double precision NOT NULL,
    paid_at  timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX customers_phone_idx ON customers (phone);
CREATE INDEX orders_status_idx ON orders (status);
CREATE INDEX payments_order_id_idx ON payments (order_id);

-- Every UPDATE of an order touches it, the ones of a backfill included: plans
-- that fill orders have to acknowledge this trigger.
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

CREATE TRIGGER orders_touch BEFORE UPDATE ON orders
    FOR EACH ROW EXECUTE FUNCTION touch();

CREATE VIEW open_orders AS
    SELECT id, customer_id, total FROM orders WHERE status = 'open';

INSERT INTO customers (email, full_name, phone)
SELECT 'Customer' || n || '@Example.com',
       'Customer ' || n,
       CASE WHEN n % 3 = 0 THEN '+49 30 ' || (100000 + n) END
FROM generate_series(1, 2000) AS n;

INSERT INTO products (sku, name, price)
SELECT 'SKU-' || n, 'Product ' || n, (n % 90) + 0.99
FROM generate_series(1, 200) AS n;

INSERT INTO orders (customer_id, status, currency, total)
SELECT 1 + n % 2000,
       CASE WHEN n % 4 = 0 THEN NULL WHEN n % 4 = 1 THEN 'open' ELSE 'paid' END,
       CASE WHEN n % 5 <> 0 THEN 'EUR' END,
       (n % 500) + 0.5
FROM generate_series(1, 10000) AS n;

INSERT INTO order_items (order_id, product_id, quantity, price)
SELECT o.id, 1 + (o.id * 7 + i) % 200, 1 + (o.id + i) % 5, 9.99
FROM orders AS o, generate_series(0, 1) AS i;

INSERT INTO payments (order_id, amount)
SELECT id, total FROM orders WHERE status = 'paid';

ANALYZE;
