"""Sliders for what V's numbers hold."""
