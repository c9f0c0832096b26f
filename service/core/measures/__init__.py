"""Measures of how faithful maps are to the network that they explain."""
