"""Structure under shift, tested against ground truth."""

from groundshift.errors import InputError

__all__ = ["InputError", "__version__"]
__version__ = "0.1.0"
