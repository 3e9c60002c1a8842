"""What one does with a run: each module is a command, `python -m tools.NAME --help`."""
