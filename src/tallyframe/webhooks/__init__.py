"""What other services tell us: signed, at least once, in any order."""
