"""What is kept of a file: the row, and the way bytes get clean before they are stored."""
