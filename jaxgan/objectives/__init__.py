"""What the networks are trained on: adversarial losses and gradient penalties, as pure functions."""
