"""Training an ensemble of sparse autoencoders: pure steps inside, a plain host loop outside."""
