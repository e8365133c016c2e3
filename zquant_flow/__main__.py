"""`python -m zquant_flow` is the command line."""

from zquant_flow.cli import main

main()
