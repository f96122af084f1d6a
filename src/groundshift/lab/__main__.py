"""``python -m groundshift.lab`` is the command ``groundshift``."""

from groundshift.lab.cli import main

main()
