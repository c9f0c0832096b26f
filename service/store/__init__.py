"""Persistence: runs, epochs, checkpoints, images and heatmaps, in a database and blobs."""
