"""Export and import of runs: one file per run, with a checksum of each part."""
