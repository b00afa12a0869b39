"""Drag the reward scale: small networks that learned the same rewards in other units."""
