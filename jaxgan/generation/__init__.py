"""Generation: opening finished runs, drawing samples, and writing images."""
