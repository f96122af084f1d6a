"""The errors a user meets: what was given, what is needed, how to mend it."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Bad input, found before long work begins.

    The message says what was given, what is needed and how to mend it. The command line prints it
    without a traceback and exits with status 2.

    >>> raise InputError("3 rows were given; a segment needs at least 4. Merge it with its neighbour.")
    Traceback (most recent call last):
    groundshift.errors.InputError: 3 rows were given; a segment needs at least 4. Merge it with its neighbour.
    """


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """The end of a sentence that refuses a name: the nearest of the known ones, or a full stop.

    >>> "There is no column 'prcie'" + did_you_mean("prcie", ["Price", "size"])
    "There is no column 'prcie'; did you mean 'Price'?"
    """
    names = {str(one).lower(): str(one) for one in known}
    near = get_close_matches(str(name).lower(), list(names), 1, 0.5)
    return f"; did you mean {names[near[0]]!r}?" if near else "."


class NoGradients(InputError):
    """A model that gives no gradients, such as one with quantised weights."""


class CheckFailed(AssertionError):
    """A check of a pipeline failed: what must not happen was found, or could not be told.

    An `AssertionError`, so that pytest and schedulers report it as a failed check and not as a fault.
    """


EXTRAS = {
    **dict.fromkeys(("accelerate", "safetensors", "torch", "transformers"), ("lm", "vision")),
    **dict.fromkeys(("diffusers", "ot", "PIL", "torchdiffeq"), ("vision",)),
    **dict.fromkeys(
        ("gguf", "inspect_ai", "nltk", "peft", "rapidfuzz", "sentence_transformers", "tokenizers", "trl"),
        ("lm",),
    ),
    "datasets": ("hub",),
    "distributed": ("cluster",),
    "mlflow": ("mlflow",),
    "rdkit": ("molecules",),
    "skops": ("model",),
}
"""The optional parts of the installation that bring a package: for language models, for images, ..."""


class MissingPart(InputError):
    """Something asked for needs a package that is not installed.

    >>> print(MissingPart(ModuleNotFoundError("No module named 'ot'", name="ot"), "The study wcfm"))
    The study wcfm needs the package ot, which is not installed: pip install 'groundshift[vision]'.
    """

    def __init__(self, error: ModuleNotFoundError, what: str) -> None:
        name = (error.name or str(error)).partition(".")[0]
        wanted = " or ".join(f"'groundshift[{extra}]'" for extra in EXTRAS.get(name, ())) or name
        super().__init__(f"{what} needs the package {name}, which is not installed: pip install {wanted}.")
