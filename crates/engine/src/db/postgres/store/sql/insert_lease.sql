INSERT INTO pontoon.lease (run) VALUES ($1)
