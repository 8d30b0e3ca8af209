"""Signatures of webhooks, as the Standard Webhooks specification has them, and Svix, from which it comes.

`webhook-signature` (Svix: `svix-signature`) is a list, parted by spaces, of `v1,<base64 of HMAC-SHA256>` over
`<id>.<timestamp>.<raw body>`. The timestamp (Unix seconds) may be five minutes off, either way. Any entry may match:
that is how the sender changes its secret. Entries of other versions are passed over.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tallyframe.errors import Unauthenticated

#: 24 bytes, the least that the specification asks for, are 32 characters of base64.
_SECRET = re.compile(r"whsec_(?:[A-Za-z0-9+/]{4}){8,}(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?")
#: Without dots, which part what is signed: else an id could be read as an id and a timestamp.
_ID = re.compile(r"[\w-]{1,255}", re.ASCII)


class Signatures:
    """Checks webhooks that are signed with any of `secrets` (`whsec_` and base64), so that these can be changed.

    Raises ValueError, which doesn't repeat it, for a secret that isn't one, and when there is none.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        if not secrets:
            raise ValueError("Webhooks need a secret to be checked with.")
        if not all(_SECRET.fullmatch(secret) for secret in secrets):
            raise ValueError("A webhook secret is 'whsec_' and at least 24 bytes in base64.")
        self._webhooks = [Webhook(secret) for secret in secrets]

    def verified_id(self, body: bytes, headers: Mapping[str, str]) -> str:
        """Return the event's id, which is the same at each try to deliver it.

        `body` is as it came over the wire, `headers` have lower-case names. Raises Unauthenticated when a header is
        missing or odd, the time is too far off, or no signature matches.
        """
        given = {}
        for name in ("id", "timestamp", "signature"):
            given[f"webhook-{name}"] = headers.get(f"svix-{name}") or headers.get(f"webhook-{name}") or ""
        if not _ID.fullmatch(given["webhook-id"]):
            raise Unauthenticated("The webhook's id is missing or malformed.")
        for webhook in self._webhooks:
            # It lets out ValueError as well: no comma, no base64, no UTF-8.
            with suppress(WebhookVerificationError, ValueError):
                webhook.verify(body, given, json_parse=False)
                return given["webhook-id"]
        raise Unauthenticated("The webhook's signature is missing, too old or not valid.")
