"""The client of Camreel, for people's own training scripts."""

__version__ = "0.1.0"
