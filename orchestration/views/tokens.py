"""A person's own API tokens: made, shown once, revoked."""

from __future__ import annotations

import uuid
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from ..entry_forms import NewToken
from ..errors import BadInput, NotFound
from ..selectors.access import tokens_for
from ..services.access import revoke_token
from ..services.once import create_token_once
from .acting import OWN, needs

FIRST = {"days": "90"}
LATE = "This form was used already, and a secret is shown only once: revoke that token and make another."


@needs(OWN)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def token_list(request: HttpRequest) -> HttpResponse:
    """A new token's secret is in the answer to the POST and nowhere else: not in the session, not in an address."""
    if request.method != "POST":
        return _page(request, NewToken(initial=FIRST))
    form = NewToken(request.POST)
    if not form.is_valid():
        return _page(request, form, problem=form.problem(), status=422)
    try:
        token, secret = create_token_once(**form.cleaned_data, by=request.user)
    except BadInput as error:
        return _page(request, form, problem=str(error), status=422)
    return _page(request, NewToken(initial=FIRST), made=token, secret=secret, late="" if secret else LATE)


def _page(request: HttpRequest, form: NewToken, status: int = 200, **shown: object) -> HttpResponse:
    context = {"form": form, "tokens": tokens_for(request.user), "key": uuid.uuid4().hex, **shown}
    return render(request, "orchestration/token_list.html", context, status=status)


@needs(OWN)
@require_POST
def token_revoke(request: HttpRequest, token_id: UUID) -> HttpResponse:
    try:
        token = revoke_token(token_id, by=request.user)
    except NotFound as error:
        raise Http404 from error
    messages.success(request, f"The token {token.name} opens nothing any more.")
    return redirect("orchestration:token-list")
