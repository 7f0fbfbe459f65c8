"""Exploration: inputs that the suite lacks, by ascending gradients of the lowered models.

Knows JAX and no ONNX: the models are functions of the images, the criteria boxes of neuron values.
"""
