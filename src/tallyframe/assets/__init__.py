"""Stored files: their rows, and how pictures from outside are fetched and cleaned before they are stored."""
