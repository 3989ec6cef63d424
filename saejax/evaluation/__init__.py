"""Honest numbers on held-out text, and plots of them."""
