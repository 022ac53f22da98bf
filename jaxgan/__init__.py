"""jaxgan: SAGAN and its family in JAX, from one command to a pod."""

__version__ = "0.1.0"
