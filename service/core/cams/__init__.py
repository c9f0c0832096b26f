"""Class activation maps: split a network at a layer, weight its activations, and sum them."""

DEFAULT_EPSILON = 1e-7
"""Default threshold: a map with a peak of at most this is blank. pytorch-grad-cam adds it to the
denominator of equation 3, so that smaller values are invisible there."""
