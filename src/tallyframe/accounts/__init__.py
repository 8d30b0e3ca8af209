"""Who can sign in: users, their credit accounts, their API keys and session tokens.

users.py           made once, on first sight or by the command line, with an account and a sign-up grant
profiles.py        later news from the issuer: a new address or name, or a deletion
identity.py        who somebody is to an issuer, and what of their profile is sound enough to keep
keys.py            API keys: their form, and their rows
session_tokens.py  verifies the tokens of one issuer
  token_header.py    which key a token asks for
  token_memory.py    tokens that were verified within the last minute
  jwks.py            the issuer's public keys, fetched as seldom as possible; jwk_set.py: which of them are usable
"""
