"""The requests of the benchmark, as HTTP/1.1."""

import json

from bench.cast import Person

ORDER = {"kind": "image", "prompt": "A red cup on a wooden table, morning light, shot from above"}

#: What stands for the key of a request; each that is sent has one of its own, as long as this.
KEY = "key-of-the-request"


def order(person: Person, prompt: str = "") -> str:
    """Return the request for an image without pictures, with a key."""
    head = f"POST /v1/projects HTTP/1.1\r\n{_auth(person)}Idempotency-Key: {KEY}\r\n"
    body = {**ORDER, "prompt": prompt or ORDER["prompt"]}
    return _request(f"{head}Content-Type: application/json\r\n", json.dumps(body))


def poll(person: Person, project_id: str, etag: str = "") -> str:
    """Return the request for a project; with its `etag`, only if it has changed."""
    return get(person, f"/v1/projects/{project_id}", etag)


def get(person: Person, path: str, etag: str = "") -> str:
    """Return a request that reads."""
    condition = f"If-None-Match: {etag}\r\n" if etag else ""
    return _request(f"GET {path} HTTP/1.1\r\n{_auth(person)}{condition}")


def bare_order() -> str:
    """Return the same body for the bare route."""
    return _request("POST / HTTP/1.1\r\nContent-Type: application/json\r\n", json.dumps(ORDER))


def bare_poll() -> str:
    """Return the request for the bare route."""
    return _request("GET / HTTP/1.1\r\n")


def _auth(person: Person) -> str:
    return f"Authorization: Bearer {person.key}\r\n"


def _request(head: str, body: str = "") -> str:
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{head}Host: 127.0.0.1\r\nAccept: */*\r\n{length}\r\n{body}"
