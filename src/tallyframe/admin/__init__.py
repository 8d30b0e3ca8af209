"""What administrators do to other people's credits and generations, each with who and why."""
