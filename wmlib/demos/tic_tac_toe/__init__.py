"""Play tic-tac-toe against MuZero, and watch its tree grow while it thinks."""
