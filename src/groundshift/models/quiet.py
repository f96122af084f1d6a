"""Other libraries' progress bars, shown on a terminal only."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

__all__ = ["bars_on_a_terminal_only"]


@contextlib.contextmanager
def bars_on_a_terminal_only() -> Iterator[None]:
    """Within, transformers draws its bars only where stderr is a terminal.

    >>> with bars_on_a_terminal_only():
    ...     pass
    """
    from transformers.utils import logging

    hide = not sys.stderr.isatty() and logging.is_progress_bar_enabled()
    if hide:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if hide:
            logging.enable_progress_bar()
