"""Sparse autoencoders as pure functions: a file an architecture, and one registry."""
