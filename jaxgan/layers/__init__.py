"""Flax NNX layers of the SAGAN family: parameters float32, images NHWC, kernels HWIO, one concept per file."""
