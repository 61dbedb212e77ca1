-- What is really in force, whatever the role, the database or a pooler say.
SELECT name::text, setting::text
FROM pg_catalog.pg_settings
WHERE name IN ('lock_timeout', 'statement_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout')
  AND setting <> '0'
