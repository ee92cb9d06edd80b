"""Say whether others could run code over an address, and what TLS needs.

    require_closed("tcp://127.0.0.1:8786")

Dask unpickles what it receives, so whoever reaches a scheduler runs code on every one of its workers.
"""

import ipaddress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..display.text import on_one_line
from ..errors import FleetError

WITHOUT = "distributed must be installed for a fleet; pip install 'perflib[fleet]'"


def require_closed(address: str, insecure: bool = False) -> None:
    """Refuse an address over which others could run code: neither TLS nor on this machine."""
    try:
        parts = urlsplit(address)
        is_address = parts.scheme == "inproc" or (parts.scheme in ("tcp", "tls") and parts.hostname and parts.port)
    except ValueError:  # a port that is no number
        is_address = False
    if not is_address:
        raise FleetError(on_one_line(f"address must be like tcp://127.0.0.1:8786, got {address!r}"))
    if parts.scheme == "tcp" and not insecure and not is_loopback(parts.hostname or ""):
        raise FleetError(
            f"{address} is neither TLS nor on this machine: whoever reaches it runs code on every worker; give a tls:// "
            "address with --tls-ca-file, --tls-cert and --tls-key, or --insecure in a closed network"
        )


def tls(address: str, ca_file: str | None, cert: str | None, key: str | None) -> Any:
    """What a tls:// address needs, or None for any other; FleetError for files that are missing or too many."""
    files = {"--tls-ca-file": ca_file, "--tls-cert": cert, "--tls-key": key}
    if not address.startswith("tls://"):
        if given := [name for name, file in files.items() if file]:
            raise FleetError(f"{given[0]} needs an address that begins with tls://, got {on_one_line(address)}")
        return None
    for name, file in files.items():
        if not file or not Path(file).is_file():
            raise FleetError(on_one_line(f"{name} must name a file for {address}, got {file}"))
    try:
        from distributed.security import Security  # an extra, which only a fleet needs
    except ImportError:
        raise FleetError(WITHOUT) from None
    names = {"tls_ca_file": ca_file, "require_encryption": True}
    names |= {f"tls_{role}_{part}": file for role in ("client", "worker") for part, file in (("cert", cert), ("key", key))}
    return Security(**names)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine and nothing else."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
