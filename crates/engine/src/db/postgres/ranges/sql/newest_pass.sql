SELECT max(pass) AS pass FROM pontoon.range WHERE run = $1 AND step = $2 AND pass < $3
