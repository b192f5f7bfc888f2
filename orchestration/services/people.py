"""Who may log in, and the one-time links by which people get in and set their password."""

from __future__ import annotations

import getpass
import os
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.encoding import force_bytes
from django.utils.http import base36_to_int, urlsafe_base64_decode, urlsafe_base64_encode

from ..errors import BadInput, NotFound
from ..roles import Role
from .teams import add_member, default_team, team_of_machine


class LinkTokens(PasswordResetTokenGenerator):
    """Signed by SECRET_KEY over what the first use changes, `last_login` to the microsecond: so each opens once."""

    def __init__(self, kind: str, lifetime: timedelta) -> None:
        super().__init__()
        self.lifetime = lifetime
        self.key_salt = f"orchestration.login_link.{kind}"

    def check_token(self, user: Any, token: str | None) -> bool:
        return bool(token) and not self.is_late(str(token)) and super().check_token(user, token)

    def is_late(self, token: str) -> bool:
        """By what the token says of itself, before its signature is looked at."""
        try:
            made = base36_to_int(token.split("-")[0])
        except ValueError:
            return False
        return self._num_seconds(self._now()) - made > self.lifetime.total_seconds()

    def _make_hash_value(self, user: Any, timestamp: int) -> str:
        last = user.last_login.isoformat(timespec="microseconds") if user.last_login else "never"
        return f"{user.pk}|{user.password}|{last}|{user.is_active}|{timestamp}"


LOGIN = LinkTokens("login", timedelta(minutes=15))
INVITATION = LinkTokens("invitation", timedelta(days=3))


@dataclass(frozen=True, slots=True)
class Opened:
    """What a link is worth now: its user, or `problem`, a sentence that says why not."""

    user: User | None
    problem: str = ""


def person_in_charge(name: str = "") -> User:
    """The superuser of this name, else the first one; made where nobody can log in yet (DJANGO_SUPERUSER_* are honoured)."""
    users = User.objects
    first = users.filter(is_superuser=True, is_active=True).order_by("date_joined", "pk").first()
    if name and users.exists():
        return person(name)
    if first is not None:
        return first
    wanted = name or os.environ.get("DJANGO_SUPERUSER_USERNAME") or _own_name()
    with transaction.atomic():
        made = _new(wanted, os.environ.get("DJANGO_SUPERUSER_EMAIL", ""), admin=True)
        add_member(default_team(), made, Role.ADMIN, by="shell")
    if password := os.environ.get("DJANGO_SUPERUSER_PASSWORD"):
        made.set_password(password)
        made.save(update_fields=["password"])
    return made


def person(name: str) -> User:
    """Raises NotFound with what to do."""
    found = User.objects.filter(username=name).first()
    if found is None:
        raise NotFound(f"there is no user {name!r}; make one: manage.py invite {name}")
    if not found.is_active:
        raise NotFound(f"user {name!r} is not active; an administrator can change that at {settings.BASE_URL}/admin/")
    return found


def invite(*, name: str, email: str = "", admin: bool = False, team: str = "", role: str = "") -> str:
    """A new user without a password, and the link with which they set one; in the only team, unless another is named.

    `admin`: a superuser. Raises BadInput when the name is taken or unfit, and when the team must be named.
    """
    with transaction.atomic():
        user = _new(name, email, admin)
        add_member(team_of_machine(team), user, role or (Role.ADMIN if admin else Role.OPERATOR), by="shell")
    return _link(user, INVITATION, "")


def login_link(user: User, *, base: str = "") -> str:
    """A link that logs this user in, once. `base` is the panel's address (default: BASE_URL)."""
    return _link(user, LOGIN, base)


def look_at_link(uid: str, token: str) -> Opened:
    """Is it good? Changes nothing, since scanners of mail open every link."""
    return _opened(_user_of(uid), token)


def use_link(uid: str, token: str) -> Opened:
    """Its user, for the first who comes; from then on the link is worth nothing."""
    with transaction.atomic():
        opened = _opened(_user_of(uid, lock=True), token)
        if opened.user is not None:
            opened.user.last_login = timezone.now()
            opened.user.save(update_fields=["last_login"])
        return opened


def _opened(user: User | None, token: str) -> Opened:
    if user is not None and user.is_active and any(kind.check_token(user, token) for kind in (LOGIN, INVITATION)):
        return Opened(user)
    if LOGIN.is_late(token):
        return Opened(None, "This link is too old, or it was used already: it works once, and only for a while.")
    return Opened(None, "This link was used already, or it is not complete.")


def _user_of(uid: str, lock: bool = False) -> User | None:
    users = User.objects.all()
    try:
        key = int(urlsafe_base64_decode(uid))
        return (users.select_for_update(no_key=True) if lock else users).filter(pk=key).first()
    except (ValueError, OverflowError):
        return None


def _link(user: User, tokens: LinkTokens, base: str) -> str:
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    path = reverse("orchestration:login-link", args=[uid, tokens.make_token(user)])
    return f"{base or settings.BASE_URL}{path}"


def _new(name: str, email: str, admin: bool) -> User:
    user = User(username=name, email=email, is_staff=admin, is_superuser=admin)
    user.set_unusable_password()
    try:
        user.full_clean(exclude=["password"])
        user.save()
    except (ValidationError, IntegrityError) as error:
        said = " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
        raise BadInput(f"user {name!r} cannot be made: {said} (for one that exists: manage.py login_link)") from error
    return user


def _own_name() -> str:
    try:
        return re.sub(r"[^\w.@+-]", "", getpass.getuser())[:150] or "admin"
    except (KeyError, OSError):
        return "admin"
