"""Scores: feature extractors, the statistics of their features, and the metrics computed from them."""
