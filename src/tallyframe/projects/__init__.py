"""What the user sees and publishes."""
