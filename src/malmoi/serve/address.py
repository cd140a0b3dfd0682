"""Where a server may listen: on this machine; in a private network with accounts; in public only behind TLS."""

import fcntl
import ipaddress
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

from malmoi.errors import UserError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
SIOCGIFADDR = 0x8915
NO_TLS = "no_tls"
WARNING = (
    "warning: {host} is not encrypted: anyone who listens on this network can read names, passwords and conversations, "
    "and take over a session; use it only among people whom you trust, or put a server with TLS in front (--public-url)"
)


def check_address(host: str, needs_owner: bool, public_url: str | None) -> str | None:
    """A warning for the person who starts a server there, None if there is nothing to warn of.

    needs_owner: nobody has an account yet; public_url: where a server that speaks TLS passes requests on
    Raises UserError if a server may not listen there.
    """
    if public_url is not None and not public_url.startswith("https://"):
        raise UserError(f"--public-url {public_url}: expected https://NAME, where a server with TLS passes requests on")
    addresses = addresses_of(host)
    if all(address.is_loopback for address in addresses):
        return None
    if needs_owner:
        raise UserError(
            f"--host {host}: others can reach it, and nobody has an account yet; start once without --host and open "
            "the link, or run `malmoi users add NAME --role owner`"
        )
    if public_url is not None:
        return None
    public = [str(address) for address in addresses if address.is_global]
    if public:
        raise UserError(
            f"--host {host}: {public[0]} is a public address, and nothing is encrypted; put a server with TLS in front "
            "and give its address as --public-url https://NAME"
        )
    return WARNING.format(host=host)


def addresses_of(host: str) -> list[Address]:
    """The addresses that a host name means; those of this machine for 0.0.0.0 and ::. Raises UserError."""
    try:
        found = {str(info[4][0]).partition("%")[0] for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        raise UserError(f"--host {host}: no such address; use 127.0.0.1, or this machine's address") from None
    addresses = [ipaddress.ip_address(one) for one in sorted(found)]
    if any(address.is_unspecified for address in addresses):
        return own_addresses()
    return addresses


def own_addresses() -> list[Address]:
    """The addresses of this machine's networks; nothing is sent to find them."""
    found = {ipaddress.ip_address("127.0.0.1")}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for _, name in socket.if_nameindex():
            try:
                row = fcntl.ioctl(any_socket, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:  # the network has no address of this kind, or this is no Linux
                continue
            found.add(ipaddress.ip_address(row[20:24]))
    with_six = Path("/proc/net/if_inet6")
    if with_six.exists():
        found |= {ipaddress.ip_address(bytes.fromhex(line.split()[0])) for line in with_six.read_text().splitlines()}
    if len(found) == 1:
        found |= _by_name()
    return sorted(found, key=lambda address: (address.version, int(address)))


def _by_name() -> set[Address]:
    try:
        infos: Sequence[tuple[object, ...]] = socket.getaddrinfo(socket.gethostname(), None)
    except OSError:
        return set()
    return {ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in infos}  # type: ignore[index]
