"""The formats other tools keep autoencoders in."""
