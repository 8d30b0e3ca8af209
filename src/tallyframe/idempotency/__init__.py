"""The same request twice is one request: the key of an order is written with it, and replays its answer."""
