"""Every call to a vendor: let through, limited, counted and written down.

    enter   circuit closed?  a slot free?  → the row in `ai_operations`, as running      ONE statement
            the vendor is asked                                                          no transaction open
    leave   what came of it: status, tokens, cost, time → the slot free, the circuit     ONE statement

Circuits and slots are rows, so that all workers share them; a worker that dies leaves a slot that runs out by itself.
"""
