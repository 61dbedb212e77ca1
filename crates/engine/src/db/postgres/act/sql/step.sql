SELECT definition, state, undone FROM pontoon.step WHERE run = $1 AND no = $2
