"""④ Who runs a generation: whose turn it is, the claim with its lease, and the run itself."""
