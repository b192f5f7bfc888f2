"""Providers: model servers that goals may use. A key goes in and never comes out, but to the client that asks the server."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import IntegrityError, transaction

from agents.addresses import problem_with

from ..errors import BadInput, NotFound
from ..models import Capability, Provider, Team, TeamEvent
from ..sealing import seal, sealed_anew
from ..transitions import repeatable
from .cleaning import clean_line, printable, shown

log = logging.getLogger(__name__)
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
ENVIRONMENT = "environment"  # in a goal's words: the model of LLM_BASE_URL, which needs no row
LIMITS = ("requests_per_minute", "tokens_per_minute", "parallel_calls", "context_tokens")
FIELDS = ("base_url", "key", "model_names", *LIMITS)
MOST_MODELS, LONGEST_MODEL, LONGEST_KEY = 200, 200, 4000
LARGEST_LIMIT = 2**31 - 1
LEAST_CONTEXT = 2048  # below it not even a brief has room


@repeatable
def add_provider(name: str, *, team: Team | None, by: str, **said: Any) -> Provider:
    """`said`: base_url, and what else of FIELDS is to be. `team` None: for the whole installation. Raises BadInput."""
    if not NAME.fullmatch(name) or name == ENVIRONMENT:
        raise BadInput(
            f"a provider's name is a word of small letters, digits, dots and dashes (at most 40), not {shown(name)}"
        )
    columns = cleaned({"base_url": "", **said})
    try:
        with transaction.atomic():
            made = Provider.objects.create(name=name, team=team, **columns)
            _note(made, "provider.added", by)
            return made
    except IntegrityError:
        where = f"in the team {team}" if team else "for the installation"
        raise BadInput(f"there is a provider {name} {where} already: change it instead") from None


@repeatable
def change_provider(provider_id: Any, *, by: str, **said: Any) -> Provider:
    """What is not said stays; an empty key forgets it. Raises NotFound, BadInput."""
    columns = cleaned(said)
    with transaction.atomic():
        row = _locked(provider_id)
        if "base_url" in columns and columns["base_url"] != row.base_url and row.sealed_key and "key" not in said:
            raise BadInput("another address would get to see the key of this one: give the key again, too")
        for name, value in columns.items():
            setattr(row, name, value)
        row.save(update_fields=[*columns])
        _note(row, "provider.changed", by)
        return row


@repeatable
def remove_provider(provider_id: Any, *, by: str) -> Provider:
    """Goals that still name it end with a sentence that says so. Raises NotFound."""
    with transaction.atomic():
        row = _locked(provider_id)
        _note(row, "provider.removed", by)
        Provider.objects.filter(pk=row.pk).delete()
        return row


@repeatable
def reseal_providers() -> int:
    """Every key under the SECRET_KEY of now, so that the older ones can be forgotten; how many. Raises BadInput before any change."""
    with transaction.atomic():
        rows = list(Provider.objects.select_for_update(no_key=True).exclude(sealed_key=""))
        for row in rows:
            row.sealed_key = sealed_anew(row.sealed_key)
        Provider.objects.bulk_update(rows, ["sealed_key"])
        return len(rows)


def provider_named(name: str, team: Team | None = None) -> Provider:
    """The team's own, else the installation's. Raises NotFound."""
    found = known_providers(team, [name]).get(name)
    if found is None:
        raise NotFound(f"there is no provider {shown(name)}; `manage.py provider list` has them")
    return found


def known_providers(team: Team | Any | None, names: Sequence[str]) -> dict[str, Provider]:
    """By name, as the team (a row or its id) sees them: its own one hides the installation's."""
    rows = Provider.objects.filter(name__in=set(names))
    theirs = {row.name: row for row in rows.filter(team=team)} if team is not None else {}
    return {row.name: row for row in rows.filter(team=None)} | theirs


# ---- what people type


def cleaned(said: Mapping[str, Any]) -> dict[str, Any]:
    """As columns. Raises BadInput."""
    if unknown := sorted(set(said) - set(FIELDS)):
        raise BadInput(f"a provider has no {', '.join(unknown)}; it has {', '.join(FIELDS)}")
    columns: dict[str, Any] = {name: _limit(name, said[name]) for name in LIMITS if name in said}
    if "base_url" in said:
        columns["base_url"] = clean_address(said["base_url"])
    if "model_names" in said:
        columns["model_names"] = _models(said["model_names"])
    if "key" in said:
        columns["sealed_key"] = seal(key) if (key := _key(said["key"])) else ""
    return columns


def clean_address(address: object) -> str:
    """Names are looked up when they are asked (`agents/llm/http.py`); an address that can be refused now is."""
    text = clean_line(str(address or ""), "the address", 500).rstrip("/")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    if parts.scheme not in ("http", "https") or not host:
        raise BadInput("the address is like https://api.openai.com/v1 or http://127.0.0.1:11434/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise BadInput("the address holds a name, a password or a query: a key is given by itself")
    lookalike = "127.0.0.1" if host == "localhost" or host.endswith(".localhost") else host
    if problem := problem_with(lookalike, private=settings.PROVIDER_PRIVATE_ADDRESSES):
        raise BadInput(problem)
    return text


def _key(key: object) -> str:
    text = str(key or "").strip()
    if len(text) > LONGEST_KEY or not (text.isascii() and text.isprintable()):
        raise BadInput("the key holds characters that no key has (a line break, an accent …): copy it again")
    return text


def _models(names: object) -> list[str]:
    if isinstance(names, str) or not isinstance(names, Sequence) or len(names) > MOST_MODELS:
        raise BadInput(f"models are a list of at most {MOST_MODELS} names")
    found = [printable(str(name).strip(), "a model's name") for name in names]
    if not all(0 < len(name) <= LONGEST_MODEL for name in found):
        raise BadInput(f"a model's name has 1 to {LONGEST_MODEL} characters")
    return list(dict.fromkeys(found))


def _limit(name: str, value: object) -> int | None:
    if value is None:
        return None
    least = LEAST_CONTEXT if name == "context_tokens" else 1
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LARGEST_LIMIT:
        raise BadInput(f"{name} is a whole number of at least {least}, or nothing; not {shown(value)}")
    return value


def _locked(provider_id: Any) -> Provider:
    row = Provider.objects.select_for_update(no_key=True, of=("self",)).select_related("team")
    found = row.filter(pk=provider_id).first()
    if found is None:
        raise NotFound("there is no such provider")
    return found


def _note(row: Provider, kind: str, by: str) -> None:
    if row.team is not None:
        TeamEvent.objects.create(team=row.team, kind=kind, subject=row.name, by=by)
    log.info("%s: %s of %s by %s", kind, row.name, row.team or "the installation", by)


# ---- what a trial has shown


@repeatable
def record_capability(name: str, **found: Any) -> Capability:
    """`name`: the model with its server, as breakers are named. A later trial replaces it."""
    return Capability.objects.update_or_create(pk=name[:300], defaults=found)[0]
