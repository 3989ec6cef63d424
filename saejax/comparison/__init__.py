"""saejax against PyTorch: the same work in processes of their own, turn by turn; differences, speed, memory."""
