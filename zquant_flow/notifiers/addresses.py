"""May this address be connected to? Which machine does a name stand for, looked up once?"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from zquant_flow.wording import say

Address = IPv4Address | IPv6Address
_TRANSLATED = IPv6Network("64:ff9b::/96")
"""IPv4 behind a translator (RFC 6052): the last 32 bits are the address."""


class PrivateAddress(Exception):
    """The name stands for machines of this network alone."""


def address_of(host: str, port: int, *, allow_private: bool) -> str:
    """The first address of a host that may be connected to. Raises PrivateAddress, and OSError for a name that nobody knows.

    Who connects to just this one is safe from a name that means another machine a moment later.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        if allow_private or is_public(ip_address(address.partition("%")[0])):
            return address
    raise PrivateAddress(
        say(
            "{host} is {address}, an address of this machine or of a private network: say `allow_private = true` to allow it",
            host=host,
            address=addresses[0],
        )
    )


def is_public(address: Address) -> bool:
    """Whether it is of the internet. What IPv6 wraps around an IPv4 address does not hide that."""
    inner = _wrapped(address)
    if inner is not None:
        return is_public(inner)
    return address.is_global and not address.is_multicast and not address.is_reserved


def _wrapped(address: Address) -> IPv4Address | None:
    if isinstance(address, IPv4Address):
        return None
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
