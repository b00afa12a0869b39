"""CarRacing: the official environment, and one drawn fast enough to learn from."""
