"""One file per system: its verbs on the command line, each a thin skin over one public call."""
