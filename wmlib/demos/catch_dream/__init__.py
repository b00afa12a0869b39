"""Catch the ball in a dream: a reader plays inside what DreamerV3 has learned of a game."""
