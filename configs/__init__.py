"""Recipes of training runs: the quickstart and the published training of every network."""
