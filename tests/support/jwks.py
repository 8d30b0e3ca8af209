"""An issuer for tests: a JWKS server on loopback, and tokens signed with its keys.

with JwksStub() as issuer:
    token = issuer.mint(sub="user_1", email="ada@example.org")   # settings: issuer.issuer, issuer.url, AZP
"""

import base64
import functools
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AZP = "https://app.example.test"
PATH = "/.well-known/jwks.json"

Mode = Literal["up", "down", "slow", "garbage", "huge", "redirect", "empty"]
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class JwksStub:
    """Serves the public halves of `keys` at `url`. `fetches` counts requests, in whatever `mode` they were answered."""

    def __init__(self) -> None:
        self.mode: Mode = "up"
        self.delay = 30.0  # seconds that "slow" takes
        self.fetches = 0
        self.generation = 0
        self.keys = _generation(0)
        self.extra: list[object] = []  # members of the set besides the keys
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        return self.issuer + PATH

    @property
    def kids(self) -> dict[str, str]:
        """The current key's id for each algorithm."""
        return {"RS256": f"rsa-{self.generation}", "ES256": f"ec-{self.generation}"}

    def rotate(self, *, keep_old: bool = False) -> None:
        self.generation += 1
        self.keys = {**(self.keys if keep_old else {}), **_generation(self.generation)}

    def claims(self, *, at: float | None = None, **changes: Any) -> dict[str, Any]:
        """What a Clerk session token holds, issued `at` (default: now). A claim that is changed to None is left out."""
        now = int(time.time() if at is None else at)
        claims = {
            "iss": self.issuer,
            "sub": "user_1",
            "sid": "sess_1",
            "azp": AZP,
            "iat": now,
            "nbf": now - 10,
            "exp": now + 60,
            "sts": "active",
            "v": 2,
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def mint(
        self,
        *,
        kid: str | None = None,
        alg: str = "RS256",
        at: float | None = None,
        headers: dict[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """A token of `claims(at, **changes)`, signed with the key named `kid` (default: the current one for `alg`)."""
        kid = kid or self.kids[alg]
        payload = json.dumps(self.claims(at=at, **changes)).encode()
        return jwt.PyJWS().encode(payload, self.keys[kid], alg, {"kid": kid, **(headers or {})})

    def jwks(self) -> bytes:
        return json.dumps({"keys": [*self.extra, *(public_jwk(kid, key) for kid, key in self.keys.items())]}).encode()

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        self.fetches += 1
        if self.mode == "slow":
            self._closing.wait(self.delay)
        return {
            "down": (503, {}, b"down"),
            "garbage": (200, {}, b'{"keys": [' * 100),
            "huge": (200, {}, self.jwks() + b" " * 1024 * 1024),
            "redirect": (302, {"Location": self.url + "?moved"}, self.jwks()),
            "empty": (200, {}, b'{"keys": []}'),
        }.get(self.mode, (200, {}, self.jwks()))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()


def public_jwk(kid: str, key: PrivateKey, **changes: object) -> dict[str, object]:
    """A member of a JWK Set."""
    if isinstance(key, rsa.RSAPrivateKey):
        jwk: dict[str, object] = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        return {**jwk, "kid": kid, "use": "sig", "alg": "RS256", **changes}
    jwk = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**jwk, "kid": kid, "use": "sig", **changes}


def forge(header: dict[str, Any], payload: object, sign: Callable[[bytes], bytes]) -> str:
    """A compact token with exactly this header and payload, and whatever `sign` makes of them."""
    signed = ".".join(_encode(json.dumps(part).encode()) for part in (header, payload))
    return f"{signed}.{_encode(sign(signed.encode()))}"


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@functools.cache  # making a key is slow, and tests may share them
def _generation(number: int) -> dict[str, PrivateKey]:
    return {
        f"rsa-{number}": rsa.generate_private_key(65537, 2048),
        f"ec-{number}": ec.generate_private_key(ec.SECP256R1()),
    }


def _handler(stub: JwksStub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = stub.answer()
            try:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                self.close_connection = True  # the client gave up waiting

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Says nothing: a test's output is its own."""

    return Handler
