"""Provider: a model server that goals may use, with its key and its limits. Capability: what a trial of one model there showed."""

from __future__ import annotations

import uuid

from django.db import models

from ..states import AnswerShape
from .constraints import one_of


class Provider(models.Model):
    """Of one team, or of the installation (`team` null): then every team may use it. Goals name it as `provider/model`.

    `sealed_key` is written and never shown: only `sealing` can read it. Of the limits null means none.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    team = models.ForeignKey("Team", null=True, blank=True, on_delete=models.CASCADE, related_name="providers")
    name = models.CharField(max_length=40)
    base_url = models.CharField(max_length=500)
    sealed_key = models.TextField(blank=True, default="")
    model_names = models.JSONField(default=list, blank=True, help_text="the models that may be used; none named: any")
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True)
    tokens_per_minute = models.PositiveIntegerField(null=True, blank=True)
    parallel_calls = models.PositiveIntegerField(null=True, blank=True)
    context_tokens = models.PositiveIntegerField(
        null=True, blank=True, help_text="what a prompt and its answer may hold together; null: nobody has said"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "created_at"]
        constraints = [
            models.UniqueConstraint(fields=["team", "name"], name="provider_name_unique"),
            models.UniqueConstraint(
                fields=["name"], condition=models.Q(team__isnull=True), name="provider_name_of_installation_unique"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def has_key(self) -> bool:
        return bool(self.sealed_key)


class Capability(models.Model):
    """By real calls (`manage.py check_llm`), one row a model and server; without one it is found out as it goes."""

    name = models.CharField(primary_key=True, max_length=300, help_text="model M at URL, as breakers are named")
    answers = models.CharField(max_length=12, choices=AnswerShape, help_text="the best way to ask for JSON")
    tool_calls = models.BooleanField(default=False)
    usage = models.BooleanField(default=False, help_text="it says how many tokens it billed")
    cached = models.BooleanField(default=False, help_text="it says how many of them came from its cache")
    limits = models.JSONField(default=dict, blank=True, help_text="what its answers said of limits and of its context")
    checked_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "capabilities"
        constraints = [one_of("answers", AnswerShape, "capability_answers_known")]

    def __str__(self) -> str:
        return self.name
