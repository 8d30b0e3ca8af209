"""What the command line does to a running system: users and keys, the ledger's audit and digests."""
