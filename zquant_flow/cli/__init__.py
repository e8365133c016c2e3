"""The command line. `main` is what the scripts `zquant-flow` and `zqf` call."""

from zquant_flow.cli.app import main

__all__ = ["main"]
