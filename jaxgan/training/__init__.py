"""Training: the loop, the pure step, and what a run writes while it goes."""
