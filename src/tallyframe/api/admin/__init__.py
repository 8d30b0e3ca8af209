"""For administrators only: each router here asks for one, and reads everybody's rows."""
