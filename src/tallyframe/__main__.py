"""`python -m tallyframe` is the command line."""

from tallyframe.cli import main

main()
