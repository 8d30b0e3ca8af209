"""Who can sign in: users, their credit accounts, their API keys and session tokens."""
