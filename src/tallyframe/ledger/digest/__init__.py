"""Digests: every account's head with a root over them, kept outside of the database, and compared with the books later.

writer.py    what a digest says, written line by line
files.py     a digest as a file
daily.py     the digest of the day, made by one worker for all
reader.py    a digest read from its file, which may be forged
compare.py   the books compared with a digest
"""
