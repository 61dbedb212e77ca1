INSERT INTO pontoon.command (run, by, command) VALUES ($1, $2, $3)
