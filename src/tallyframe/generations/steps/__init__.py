"""④ The durable steps of a run: what a vendor may bill is kept before it is asked for."""
