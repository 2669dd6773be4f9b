"""The networks for small images."""
