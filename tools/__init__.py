"""The commands for a finished run; each module is one: `python -m tools.NAME --help`."""
