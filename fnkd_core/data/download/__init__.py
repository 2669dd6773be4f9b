"""Published data sets: where they are, and fetching them with progress, resumed and verified."""
