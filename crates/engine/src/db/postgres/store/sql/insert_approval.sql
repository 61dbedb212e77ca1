INSERT INTO pontoon.approval (run, gate, by) VALUES ($1, $2, $3)
ON CONFLICT (run, gate) DO NOTHING
