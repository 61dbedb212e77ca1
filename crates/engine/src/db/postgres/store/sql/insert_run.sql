INSERT INTO pontoon.run (id, plan, version, issue, definition, settings, state, phase)
VALUES ($1, $2, $3, $4, $5, $6, 'pending', $7)
