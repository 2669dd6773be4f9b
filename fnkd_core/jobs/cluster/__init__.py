"""Runs and extractions on a Ray cluster that somebody else has started. Ray is imported when one is connected to."""
