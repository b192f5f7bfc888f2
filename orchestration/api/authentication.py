"""Who asks, by a token in the Authorization header. (Who is logged in to the panel is known too: DRF's SessionAuthentication.)"""

from __future__ import annotations

from typing import Any

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from ..services.access import SECRET, find_token

HOW = "send it as `Authorization: Bearer cmk_…`"
NAMES_OF_SECRETS = frozenset(
    {"token", "access_token", "api_token", "api_key", "apikey", "key", "authorization", "bearer"}
)


class BearerToken(BaseAuthentication):
    """`Authorization: Bearer cmk_…`. Whatever else stands in the header is 401."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        _refuse_secrets_in_the_address(request)
        header = request.META.get("HTTP_AUTHORIZATION", "")
        if not header:
            return None
        scheme, _, secret = header.partition(" ")
        if scheme.lower() != "bearer":
            raise AuthenticationFailed(f"only API tokens are known here: {HOW}")
        token = find_token(secret.strip())
        if token is None:
            raise AuthenticationFailed(
                "this token is unknown, expired or revoked; make another on the panel's page of tokens, "
                "or with `manage.py create_token USER`"
            )
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="compymac"'


def _refuse_secrets_in_the_address(request: Request) -> None:
    """Addresses end in logs, histories and Referer headers: a token there is no secret any more, so it opens nothing."""
    for name, values in request.query_params.lists():
        if name.lower() in NAMES_OF_SECRETS or any(SECRET.fullmatch(value) for value in values):
            raise AuthenticationFailed(
                f"a token does not belong into the address, where logs keep it: {HOW}. Revoke it if it was a real one"
            )
