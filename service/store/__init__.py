"""Everything that lasts: runs, epochs, checkpoints, images and maps' metadata."""
