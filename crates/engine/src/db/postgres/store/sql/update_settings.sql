UPDATE pontoon.run SET settings = $2, base = $3, live_settings = $4 WHERE id = $1
