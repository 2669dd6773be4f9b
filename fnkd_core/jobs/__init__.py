"""Runs as folders, and the detached processes that own them. No torch."""
