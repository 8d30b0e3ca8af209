"""The services that send webhooks. Only `webhooks/registry.py` imports them."""
