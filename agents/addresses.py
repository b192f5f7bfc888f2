"""PURE: may a server that somebody has named be asked from here? By the address that a connection really has, never by its name."""

from __future__ import annotations

import ipaddress


def problem_with(address: str, *, private: bool) -> str:
    """Why this IP address must not be asked; empty: it may. `private`: loopback and private networks may be.

    A link-local address is never a model server: there the credentials of cloud machines are to be had.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""  # a name: it is looked at when a connection to it stands
    ip = getattr(found, "ipv4_mapped", None) or found
    if ip.is_link_local or ip.is_multicast or ip.is_unspecified:
        return f"{ip} is no address of a model server"
    if not private and not ip.is_global:
        return f"{ip} is a private address, and PROVIDER_PRIVATE_ADDRESSES does not allow those"
    return ""
