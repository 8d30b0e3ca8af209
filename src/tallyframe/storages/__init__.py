"""Where media bytes live, one file per kind of storage, behind one port."""
