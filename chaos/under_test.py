"""Tallyframe's command line, with the operations of `chaos/products.py`: `python -m chaos.under_test worker`.

Names below `.slow.invalid` are slow here (`chaos/slow_names.py`).
"""

import sys

from chaos.products import Sheet, Words
from chaos.slow_names import hang_for_slow_names
from tallyframe.operations import registry
from tallyframe.priority import stand_back

if __name__ == "__main__":
    registry.OPERATIONS = (*registry.OPERATIONS, Words(), Sheet())
    hang_for_slow_names()
    if sys.argv[1:2] == ["worker"]:
        stand_back()  # it stands for one on another machine
    from tallyframe.cli import main  # after that: who reads the registry finds all of it

    main()
