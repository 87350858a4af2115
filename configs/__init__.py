"""Training recipes: the quickstart, and the published training of every network."""
