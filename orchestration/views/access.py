"""Getting in by a one-time link, and setting a password afterwards."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth import login, update_session_auth_hash
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import SetPasswordForm
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from .. import services
from .acting import OWN, needs

BY_LINK = "came_by_link"  # in the session: only then a password is set without the old one
BACKEND = "django.contrib.auth.backends.ModelBackend"


@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def login_link(request: HttpRequest, uid: str, token: str) -> HttpResponse:
    """GET shows a button and uses nothing up, since scanners of mail open links; the POST of that button logs in."""
    use = request.method == "POST"
    opened = (services.use_link if use else services.look_at_link)(uid, token)
    if opened.user is None:
        response = render(request, "orchestration/login_link_gone.html", {"problem": opened.problem}, status=410)
    elif use:
        login(request, opened.user, backend=BACKEND)  # with a new session key
        request.session[BY_LINK] = True
        response = redirect("orchestration:set-password")
    else:
        response = render(request, "orchestration/login_link.html", {"user_name": opened.user.get_username()})
    # The origin only, never this address. (With `no-referrer` browsers post `Origin: null`, which is refused as forged.)
    response["Referrer-Policy"] = "strict-origin"
    return response


@needs(OWN)
@never_cache
@sensitive_post_parameters("new_password1", "new_password2")
@require_http_methods(["GET", "POST"])
def set_password(request: HttpRequest) -> HttpResponse:
    """Only for whoever has just come by a link; it may be skipped by those who have a password."""
    if not request.session.get(BY_LINK):
        messages.info(request, "A password is set after a one-time link: manage.py login_link makes one.")
        return redirect("orchestration:overview")
    user = User.objects.get(pk=request.user.pk or 0)
    form = SetPasswordForm(user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.save()
        update_session_auth_hash(request, user)
        del request.session[BY_LINK]
        messages.success(request, "Your password is set.")
        return redirect("orchestration:overview")
    context = {"form": form, "skippable": user.has_usable_password()}
    return render(request, "orchestration/set_password.html", context, status=422 if form.errors else 200)
