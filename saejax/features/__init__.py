"""What an autoencoder's latents stand for: collected from held-out text, from weights, and by runs of the language model."""
