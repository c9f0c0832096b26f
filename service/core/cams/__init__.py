"""Class activation maps: cut a network at a layer, weigh its activations, add them up."""
