"""What the maps, the outputs and the metrics of a run say about its network."""
