"""`make demo`: what Tallyframe does, in one minute, on two bundled photos."""
