"""What the live page asks of the model: activations of a text, and what happens when latents are turned down or up."""
