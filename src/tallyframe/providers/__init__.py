"""Vendors that make media, one file each, behind ports cut by capability."""
