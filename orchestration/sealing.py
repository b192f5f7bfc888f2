"""Keys of others at rest: encrypted with a key derived from SECRET_KEY; SECRET_KEY_FALLBACKS still read what older ones wrote."""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from .errors import BadInput

INFO = b"compymac: keys of model providers"  # another use of SECRET_KEY derives another key


def seal(text: str) -> str:
    """Raises BadInput where SECRET_KEY is the one that everybody knows."""
    if settings.SECRET_KEY == settings.INSECURE_KEY:
        raise BadInput("no key is stored without a secret of this installation: set SECRET_KEY, `make env` makes one")
    return _fernet().encrypt(text.encode()).decode("ascii")


def unseal(sealed: str) -> str:
    """Raises BadInput where it was sealed with a SECRET_KEY that is not known any more."""
    try:
        return _fernet().decrypt(sealed.encode("ascii")).decode() if sealed else ""
    except InvalidToken:
        raise BadInput(
            "its key was stored under another SECRET_KEY: put that one into SECRET_KEY_FALLBACKS, or give the key again"
        ) from None


def sealed_anew(sealed: str) -> str:
    """The same text under the SECRET_KEY of now. Raises BadInput as `unseal` does."""
    return seal(unseal(sealed)) if sealed else ""


def _fernet() -> MultiFernet:
    return MultiFernet([Fernet(_derived(secret)) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)])


def _derived(secret: str) -> bytes:
    return base64.urlsafe_b64encode(HKDF(SHA256(), 32, salt=None, info=INFO).derive(secret.encode()))
