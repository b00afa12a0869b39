"""Networks that more than one agent is built from."""
