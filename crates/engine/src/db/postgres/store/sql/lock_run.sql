SELECT state, settings FROM pontoon.run WHERE id = $1 FOR NO KEY UPDATE
