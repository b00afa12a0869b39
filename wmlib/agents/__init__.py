"""Whole agents, one a module, each named after its paper."""
