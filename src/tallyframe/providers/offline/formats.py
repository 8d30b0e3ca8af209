"""Strings in the formats that JSON schemas name."""

import base64

_SAME = {
    "duration": "PT30S",
    "hostname": "example.com",
    "idn-email": "sample@example.com",
    "ipv4": "192.0.2.1",
    "ipv4interface": "192.0.2.1/24",
    "ipv4network": "192.0.2.0/24",
    "ipv6": "2001:db8::1",
    "ipv6interface": "2001:db8::1/64",
    "ipv6network": "2001:db8::/64",
    "ipvanyaddress": "192.0.2.1",
    "ipvanyinterface": "192.0.2.1/24",
    "ipvanynetwork": "192.0.2.0/24",
    "multi-host-uri": "postgres://example.com/sample",
    "path": "sample/file.txt",
    "regex": "[a-z]+",
}
_BASE64 = {"base64": base64.b64encode, "base64url": base64.urlsafe_b64encode}


def in_format(name: str, dice: int, text: str, *, is_future: bool = False, is_naive: bool = False) -> str | None:
    """Return a string in the format; None if there is none of that name, as then any string will do.

    `dice` chooses among many. `text` is what a base64 holds. A date is after today if `is_future`, else before; a time
    has no zone if `is_naive`.
    """
    day = f"{2099 if is_future else 2025}-{1 + dice % 12:02}-{1 + dice // 12 % 28:02}"
    clock = f"{8 + dice % 12:02}:{dice // 12 % 60:02}:00"
    if name.startswith("uuid"):
        digits, version = f"{dice:016x}" * 2, name.removeprefix("uuid") or "4"
        return f"{digits[:8]}-{digits[8:12]}-{version}{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
    if name in _BASE64:
        return _BASE64[name](text.encode()).decode()
    made = {
        "date": day,
        "date-time": f"{day}T{clock}{'' if is_naive else 'Z'}",
        "time": clock,
        "email": f"sample-{dice % 1000}@example.com",
        "name-email": f"Sample <sample-{dice % 1000}@example.com>",
        "uri": f"https://example.com/sample-{dice % 1000}",
    }
    return made.get(name) or _SAME.get(name)
