"""Which network addresses a crawl may connect to: those of the public Internet."""

from __future__ import annotations

import ipaddress

# An IPv4 address within an IPv6 one, which a gateway may unwrap: RFC 6052.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an IP address is on the public Internet: not private, loopback, link-local, multicast or reserved."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        within = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if within is None and ip in _NAT64:
            within = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if within is not None or ip.is_site_local:
            return within is not None and is_public(str(within))
    return ip.is_global and not (ip.is_multicast or ip.is_reserved)
