"""Tallyframe: AI images and videos on demand, every credit accounted for."""
