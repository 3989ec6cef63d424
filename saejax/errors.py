"""The one exception that means "what you gave cannot be used", shown as one line with exit status 2."""


class InputError(ValueError):
    """A flag, file or work directory that cannot be used.

    The message is one line: the flag or file, the value got, what is allowed, and what to do.
    """
