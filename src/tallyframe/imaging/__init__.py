"""Reads JPEG, PNG and WebP pictures of others: whole, bounded, and in the colours that their makers meant."""
