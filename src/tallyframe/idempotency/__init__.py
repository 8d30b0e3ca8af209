"""The same request twice is one request: its key is written with what it makes, and finds that again."""
