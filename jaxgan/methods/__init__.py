"""What is trained: networks, phases and losses; the trainer knows nothing else of them."""
