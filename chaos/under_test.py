"""Tallyframe's command line, with the operations of `chaos/products.py`: `python -m chaos.under_test worker`."""

from chaos.products import Sheet, Words
from tallyframe.operations import registry

if __name__ == "__main__":
    registry.OPERATIONS = (*registry.OPERATIONS, Words(), Sheet())
    from tallyframe.cli import main  # after that: who reads the registry finds all of it

    main()
