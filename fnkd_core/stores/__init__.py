"""One model's outputs on one split, in a folder that pages read and compute nothing for."""
