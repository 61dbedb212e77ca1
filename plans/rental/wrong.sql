-- What is not as the plans have it. Nothing, at the end.
SELECT 'a payment without its amount' WHERE EXISTS (SELECT FROM payment WHERE amount <> 0.99 + rental_id % 10)
UNION ALL
SELECT 'the type of ' || column_name FROM information_schema.columns
WHERE (table_name, column_name) IN (('payment', 'rental_id'), ('rental', 'rental_id')) AND data_type <> 'bigint'
UNION ALL
SELECT 'the view reads other sums' WHERE (SELECT sum(total) FROM sales_by_store) <> (SELECT sum(amount) FROM payment)
UNION ALL
SELECT 'best_store is gone' WHERE to_regclass('best_store') IS NULL
UNION ALL
SELECT 'nobody may read the view' WHERE NOT has_table_privilege('pg_monitor', 'sales_by_store', 'SELECT')
UNION ALL
SELECT 'the comment is gone' WHERE col_description('payment'::regclass, (
    SELECT attnum FROM pg_attribute WHERE attrelid = 'payment'::regclass AND attname = 'amount')) IS NULL
UNION ALL
SELECT 'index ' || wanted || ' is not there' FROM unnest(ARRAY['payment_rental_idx', 'rental_pkey', 'customer_email_idx',
    'customer_store_idx', 'film_title_idx', 'rental_open_idx']) AS wanted WHERE to_regclass(wanted) IS NULL
UNION ALL
SELECT 'constraint ' || wanted || ' is not there' FROM unnest(ARRAY['payment_rental_id_fkey', 'payment_amount_check',
    'film_rental_rate_check', 'film_length_check', 'film_details_film_id_fkey',
    'film_language_id_fkey']) AS wanted
WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conname = wanted AND convalidated)
UNION ALL
SELECT 'the next rental would not fit' WHERE (SELECT seqtypid FROM pg_sequence
    WHERE seqrelid = pg_get_serial_sequence('rental', 'rental_id')::regclass) <> 'bigint'::regtype
UNION ALL
SELECT 'a customer is somebody else' WHERE EXISTS (
    SELECT FROM customer WHERE is_active IS DISTINCT FROM (customer_id % 9 <> 0)
        OR email_normalized IS DISTINCT FROM lower(email))
UNION ALL
SELECT 'a film without features' WHERE EXISTS (SELECT FROM film WHERE features IS NULL)
UNION ALL
SELECT 'a film without its details, or with others' WHERE EXISTS (
    SELECT FROM film LEFT JOIN film_details USING (film_id)
    WHERE (length, rating, description) IS DISTINCT FROM
        (60 + film_id % 120, (enum_range(NULL::film_rating))[1 + film_id % 5], NULL::text))
UNION ALL
SELECT 'a film in another language' WHERE EXISTS (
    SELECT FROM film LEFT JOIN language ON language.id = language_id
    WHERE language.id IS NULL OR language.language <> (ARRAY['English', 'Italian', 'Japanese'])[1 + film_id % 3])
UNION ALL
SELECT 'a language twice, or one too many' WHERE (SELECT count(*) FROM language) <> 3;
