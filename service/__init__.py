"""Camreel: a reel of class activation maps over the epochs of a network that learns."""

__version__ = "0.2.0"
