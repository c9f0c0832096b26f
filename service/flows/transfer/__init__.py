"""Runs as files: one file holds a whole run, with the checksum of each of its parts."""
