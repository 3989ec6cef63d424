"""Activations: from tokens to rows, to disk, and back in a shuffled order that is pure in the step."""
