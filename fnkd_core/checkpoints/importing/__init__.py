"""Bringing in checkpoints that somebody else made."""
