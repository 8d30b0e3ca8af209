"""Every call to a vendor: let through, limited, counted and written down.

    enter       circuit closed?  a slot free?  → the row in `ai_operations`, as running       ONE statement
                the adapter calls the vendor                                                  no transaction open
    recording   status, tokens, cost, time → the row; the slot is free, the circuit counts    ONE statement

Circuits and slots are rows, so that all workers share them. The slot of a worker that died runs out by itself.
"""
