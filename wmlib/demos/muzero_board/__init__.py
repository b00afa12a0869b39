"""Play a board game against MuZero, and watch its tree grow while it thinks."""
