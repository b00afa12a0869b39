"""Whole agents, a folder each, named after its paper."""
