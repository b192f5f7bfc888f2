"""What an operator sets for the remote sandbox, checked once, with the name of the setting in every message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...errors import Permanent
from .transport import Address, parse_address

NAMES = (
    "LOCALE2B_BASE_URL",
    "LOCALE2B_API_KEY",
    "LOCALE2B_API_KEY_HEADER",
    "LOCALE2B_TEMPLATE",
    "LOCALE2B_MEMORY_MB",
    "LOCALE2B_VCPUS",
    "LOCALE2B_REQUESTS_PER_MINUTE",
)
SMALLEST_MEMORY, LARGEST_MEMORY, LARGEST_VCPUS = 256, 2048, 4
SAFE_RATE = 45


@dataclass(frozen=True, slots=True)
class Options:
    """`installation` begins the names of our machines, so that two installations can share a service."""

    addresses: tuple[Address, ...]
    api_key: str = field(default="", repr=False)
    key_header: str = "X-API-Key"
    template: str = "default"
    memory_mb: int = 1024
    vcpus: int = 1
    per_minute: int = SAFE_RATE
    installation: str = "local"

    @property
    def headers(self) -> dict[str, str]:
        return {self.key_header: self.api_key} if self.api_key else {}


def is_configured(env: Mapping[str, str]) -> bool:
    return bool(env.get("LOCALE2B_BASE_URL", "").strip())


def from_environment(env: Mapping[str, str], installation: str = "local") -> Options:
    """Raises Permanent with the name of the setting that cannot be."""
    addresses = [parse_address(part) for part in env.get("LOCALE2B_BASE_URL", "").split(",") if part.strip()]
    if not addresses:
        raise Permanent("SANDBOX=locale2b needs LOCALE2B_BASE_URL, the address of the service (several: with commas)")
    key = env.get("LOCALE2B_API_KEY", "").strip()
    header = env.get("LOCALE2B_API_KEY_HEADER", "").strip() or "X-API-Key"
    if not (f"{key}{header}".isascii() and f"{key}{header}".isprintable()):
        raise Permanent(
            "LOCALE2B_API_KEY or LOCALE2B_API_KEY_HEADER holds characters that no header has: copy it again"
        )
    return Options(
        tuple(dict.fromkeys(addresses)),
        key,
        header,
        env.get("LOCALE2B_TEMPLATE", "").strip() or "default",
        _number(env, "LOCALE2B_MEMORY_MB", 1024, SMALLEST_MEMORY, LARGEST_MEMORY),
        _number(env, "LOCALE2B_VCPUS", 1, 1, LARGEST_VCPUS),
        _number(env, "LOCALE2B_REQUESTS_PER_MINUTE", SAFE_RATE, 5, 100_000),
        installation,
    )


def warnings(options: Options) -> list[str]:
    """What works but should not stay so, a sentence each."""
    plain = [address.name for address in options.addresses if not address.tls and not address.private]
    found = []
    if plain:
        found.append(
            f"the repository goes to {', '.join(plain)} over plain HTTP and a public network: put TLS in front of it"
        )
    if not options.api_key:
        found.append(
            "no key is set, so whoever reaches the service can use it: API_KEY_ENABLED there, LOCALE2B_API_KEY here"
        )
    return found


def _number(env: Mapping[str, str], name: str, otherwise: int, least: int, most: int) -> int:
    text = env.get(name, "").strip()
    try:
        value = int(text) if text else otherwise
    except ValueError:
        value = -1
    if not least <= value <= most:
        raise Permanent(f"{name} must be a number from {least} to {most}, not {text!r}")
    return value
