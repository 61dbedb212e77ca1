DELETE FROM pontoon.worker WHERE run = $1 AND token = $2 RETURNING holder, live
