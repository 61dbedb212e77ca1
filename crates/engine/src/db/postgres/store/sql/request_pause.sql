-- $2: who asks; NULL lifts the pause.
UPDATE pontoon.run SET pause_requested = $2 WHERE id = $1
