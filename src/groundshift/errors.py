"""The one error a user meets: what was given, what is needed, how to mend it."""


class InputError(ValueError):
    """Bad input, found before long work begins.

    The message says what was given, what is needed and how to mend it. The command line prints it
    without a traceback and exits with status 2.

    >>> raise InputError("3 rows were given; a segment needs at least 4. Merge it with its neighbour.")
    Traceback (most recent call last):
    groundshift.errors.InputError: 3 rows were given; a segment needs at least 4. Merge it with its neighbour.
    """
