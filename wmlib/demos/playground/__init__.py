"""Dyna in a maze that a reader may change."""
