"""Maps drawn as pictures: cells, sheets, strips, animations, and atlases for clients."""

DEFAULT_OPACITY = 0.85
"""Opacity of an overlay's colors where the map is at the top of its scale."""
