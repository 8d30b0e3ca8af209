"""The workers that are there, and how many generations they run."""
