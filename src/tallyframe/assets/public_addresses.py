"""Which IP addresses belong to the public internet: the gate against requests to our own network (SSRF)."""

import ipaddress
from collections.abc import Sequence

#: IANA's special-purpose registries (RFC 6890 and updates), plus what `ipaddress` calls global in some versions.
_DENIED_V4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers' NAT, RFC 6598; metadata at 100.100.100.200 in one cloud
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # a cloud's host agent behind a public address
        "169.254.0.0/16",  # link-local; metadata at 169.254.169.254 in most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments, 192.0.0.8 among them
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays, RFC 7526
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)

#: What DNS64 answers with in a network that has IPv6 only: the last 32 bits are the IPv4 address that NAT64 connects to
#: (RFC 6052, 2.1). A network's own prefix of 64:ff9b:1::/48 (RFC 8215) stays refused: only its operator knows its form.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
#: All of IPv6 that is handed out to hosts. Outside: loopback, IPv4-mapped and -compatible, NAT64, unique local,
#: link-local, site-local and multicast addresses.
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_DENIED_V6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address in disguise
        "3ffe::/16",  # the former 6bone
        "3fff::/20",  # documentation, RFC 9637
    )
)


class NotPublic(Exception):
    """A host is unknown, or not all of its addresses are public."""


def blocked(ip: str) -> bool:
    """Return whether we must not connect to `ip`: it is not public, or no literal IPv4 or IPv6 address.

    Pure. IPv6 with a zone id (RFC 4007) is blocked, and so is IPv4 inside IPv6, whatever is inside; but 64:ff9b::/96
    is what the IPv4 address inside is, because DNS64 makes such addresses of every public host.
    """
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return True
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is None and address in _NAT64:
        address = ipaddress.IPv4Address(address.packed[-4:])
    if isinstance(address, ipaddress.IPv4Address):
        denied = any(address in network for network in _DENIED_V4)
    else:
        zoned = address.scope_id is not None
        denied = zoned or address not in _GLOBAL_V6 or any(address in network for network in _DENIED_V6)
    return denied or not address.is_global or address.is_multicast or address.is_reserved


def public_one(addresses: Sequence[str]) -> str:
    """Return one of a host's addresses, IPv4 first. Pure. Raises NotPublic unless there are some and all are public."""
    if not addresses or any(blocked(address) for address in addresses):
        raise NotPublic
    return min(addresses, key=lambda address: ":" in address)
