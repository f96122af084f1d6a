"""The errors a user meets: what was given, what is needed, how to mend it."""


class InputError(ValueError):
    """Bad input, found before long work begins.

    The message says what was given, what is needed and how to mend it. The command line prints it
    without a traceback and exits with status 2.

    >>> raise InputError("3 rows were given; a segment needs at least 4. Merge it with its neighbour.")
    Traceback (most recent call last):
    groundshift.errors.InputError: 3 rows were given; a segment needs at least 4. Merge it with its neighbour.
    """


EXTRAS = {
    **dict.fromkeys(
        ("accelerate", "diffusers", "ot", "PIL", "safetensors", "torch", "torchdiffeq", "transformers"),
        "vision",
    ),
    **dict.fromkeys(("gguf", "inspect_ai", "nltk", "peft", "rapidfuzz", "tokenizers", "trl"), "lm"),
    "datasets": "hub",
    "distributed": "cluster",
    "skops": "model",
}
"""The optional part of the installation that brings a package."""


class MissingPart(InputError):
    """Something asked for needs a package that is not installed.

    >>> print(MissingPart(ModuleNotFoundError("No module named 'ot'", name="ot"), "The study wcfm"))
    The study wcfm needs the package ot, which is not installed: pip install 'groundshift[vision]'.
    """

    def __init__(self, error: ModuleNotFoundError, what: str) -> None:
        name = (error.name or str(error)).partition(".")[0]
        wanted = f"'groundshift[{EXTRAS[name]}]'" if name in EXTRAS else name
        super().__init__(f"{what} needs the package {name}, which is not installed: pip install {wanted}.")
