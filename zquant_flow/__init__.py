"""zquant-flow: drop a YAML or Python file into a folder and it runs on time."""

__version__ = "0.1.0"
