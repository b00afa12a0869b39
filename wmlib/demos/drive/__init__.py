"""Drive the dream: a reader at the wheel of a learned world."""
