"""Serves the built page, a client of the public API."""
