"""The language model: text, tokens, a Flax GPT-2 with hook sites, and its training from scratch."""
