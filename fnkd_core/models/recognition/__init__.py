"""Which architecture a state dict belongs to, from its names and shapes alone."""
