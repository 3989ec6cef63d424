"""The PyTorch twin: what saejax computes, written plainly once more, for a reader and for `--tasks=compare` to hold it against.

It imports nothing of saejax but its errors. Needs the extra `torch`: `pip install 'saejax[torch]'`.
"""
