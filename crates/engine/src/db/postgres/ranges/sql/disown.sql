-- What this process took and does not work on any more.
UPDATE pontoon.range SET owner = NULL WHERE run = $1 AND step = $2 AND owner = $3 AND NOT done
