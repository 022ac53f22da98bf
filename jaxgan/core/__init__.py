"""State, randomness, devices and files: what every method and the training loop stand on."""
