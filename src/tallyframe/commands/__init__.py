"""What the commands of operators do: users, the audit of the books and digests, and the parts of `dev`."""
