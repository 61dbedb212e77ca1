-- The server, and what the connected role may do in this database.
SELECT json_build_object(
    'version', current_setting('server_version_num')::int,
    'system_identifier', (SELECT system_identifier::text FROM pg_control_system()),
    'database', current_database(),
    'role', current_user,
    'may_create_temp', has_database_privilege(current_database(), 'TEMPORARY'),
    'in_recovery', pg_is_in_recovery(),
    'compression', (SELECT to_json(enumvals) FROM pg_settings WHERE name = 'default_toast_compression')
)::text
