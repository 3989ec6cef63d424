"""saejax: sparse autoencoders on GPT-2's activations, in JAX, many at once."""

__version__ = "0.1.0"
