"""Measures of a map's worth: whether it shows what the network looks at, and not just something."""
