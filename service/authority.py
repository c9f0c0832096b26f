"""Parsers of hosts and origins by the grammars of RFC 3986 (3.2), RFC 9110 (7.2) and RFC 6454.

`urllib.parse.urlsplit` is too lenient: it drops tabs and newlines, cuts at `#`, and accepts
userinfo.
"""

import ipaddress
import re
from dataclasses import dataclass

DEFAULT_PORTS = {"http": 80, "https": 443}

_REG_NAME = r"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+"  # includes IPv4 addresses
_AUTHORITY = re.compile(
    rf"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>{_REG_NAME}))(?::(?P<port>[0-9]{{0,5}}))?"
)
_ORIGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.+)", re.DOTALL)
_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_PATTERN = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")


@dataclass(frozen=True)
class Authority:
    """A host in lower case (IPv6 addresses compressed, without brackets) and a port."""

    host: str
    port: int | None = None


@dataclass(frozen=True)
class Origin:
    """Origin of a page. Without an explicit port it has the scheme's default port."""

    scheme: str
    host: str
    port: int | None

    def __str__(self) -> str:
        """As browsers serialize it: without the scheme's default port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        has_default_port = self.port in (None, DEFAULT_PORTS.get(self.scheme))
        return (
            f"{self.scheme}://{host}" if has_default_port else f"{self.scheme}://{host}:{self.port}"
        )


def parse_authority(text: str) -> Authority:
    """`name`, `name:8000`, `127.0.0.1`, `[::1]:8000`. Raises ValueError for anything else."""
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        raise ValueError("a host, as in example.org, 127.0.0.1 or [::1], and perhaps a port")
    port = int(match["port"]) if match["port"] else None
    if port is not None and port > 65535:
        raise ValueError("a port is 0 to 65535")
    host = str(ipaddress.IPv6Address(match["ipv6"])) if match["ipv6"] else match["name"].lower()
    return Authority(host, port)


def parse_origin(text: str) -> Origin:
    """`https://example.org`. Raises ValueError for anything else, `null` included."""
    match = _ORIGIN.fullmatch(text)
    if match is None:
        raise ValueError("an origin, as in https://notebook.example")
    scheme, authority = match[1].lower(), parse_authority(match[2])
    port = DEFAULT_PORTS.get(scheme) if authority.port is None else authority.port
    return Origin(scheme, authority.host, port)


def host_pattern(text: str) -> str:
    """A host name, with an optional leading `*.`, or an address. Raises ValueError otherwise."""
    name = text.lower()
    try:
        return str(ipaddress.ip_address(name.removeprefix("[").removesuffix("]")))
    except ValueError:
        if _PATTERN.fullmatch(name):
            return name
    raise ValueError(
        f"{text!r} is no host name or address: as in cams.example.org, *.example.org, 192.0.2.1 or "
        "[2001:db8::1], without scheme, port and path"
    )
