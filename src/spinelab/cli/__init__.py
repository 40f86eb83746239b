"""The command line: one thin file a verb, which parses, calls and prints."""

from spinelab.cli.app import main

__all__ = ["main"]
