"""A JWK Set (RFC 7517) as an issuer publishes it: which of its keys can verify session tokens."""

import json

import jwt

_ALGORITHMS = {"RSA": "RS256", "EC": "ES256"}  # by `kty`
_RSA_BITS = range(2048, 8192 + 1)  # the upper end bounds what one verification costs
_PUBLIC_MEMBERS = frozenset({"kty", "kid", "n", "e", "crv", "x", "y"})


def usable_keys(body: bytes) -> dict[str, jwt.PyJWK]:
    """Return the set's keys for RS256 and ES256 by their ids. Raises ValueError and RecursionError."""
    jwks = json.loads(body)
    members = jwks.get("keys") if isinstance(jwks, dict) else None
    usable = map(_usable_key, members if isinstance(members, list) else [])
    keys = {key.key_id: key for key in usable if key is not None and key.key_id is not None}
    if not keys:  # an issuer can't sign without keys: it's an outage, and no reason to drop those we have
        raise ValueError("There is no key for RS256 or ES256 in the answer.")
    return keys


def _usable_key(member: object) -> jwt.PyJWK | None:
    """Return the key; None for what is not a sound RS256 or ES256 signature key with an id.

    RFC 7517 section 5: members that are not understood should be ignored.
    """
    if not isinstance(member, dict):
        return None
    key_id, operations = member.get("kid"), member.get("key_ops", ["verify"])
    algorithm = _ALGORITHMS.get(str(member.get("kty")))
    is_for_signatures = member.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations
    has_id = isinstance(key_id, str) and key_id != ""
    if algorithm is None or member.get("alg", algorithm) != algorithm or not is_for_signatures or not has_id:
        return None
    try:  # only the public members: a private key that was published by mistake is not taken in
        key = jwt.PyJWK({name: member[name] for name in _PUBLIC_MEMBERS & member.keys()}, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    is_strong = member.get("crv") == "P-256" if key.key_type == "EC" else key.key.key_size in _RSA_BITS
    return key if is_strong else None
