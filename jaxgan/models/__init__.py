"""Generators and discriminators as Flax NNX modules with plain keyword arguments; import them from their files."""
