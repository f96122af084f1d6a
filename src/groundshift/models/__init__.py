"""Shared networks: exact ones in closed form, small trained ones, and the user's own model directories."""

import os
import sys

if (
    sys.stderr is None or not sys.stderr.isatty()
):  # bars are for terminals; transformers reads this when it is imported
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
