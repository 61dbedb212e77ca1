INSERT INTO pontoon.step (run, no, definition) VALUES ($1, $2, $3)
