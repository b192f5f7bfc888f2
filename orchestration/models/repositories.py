"""Repository: where code comes from, and the tools that its checks need."""

from __future__ import annotations

import uuid

from django.db import models


class Repository(models.Model):
    """A local git repository that somebody with the right to read it has named, for one team; another may have the same folder.

    `setup`: shell commands that build its environment (design: run once, with network, outside the agent's control); they run only
    while `setup_allowed`. `toolchain`: host folders that are mounted read-only and whose `bin` is put on PATH.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    team = models.ForeignKey("Team", on_delete=models.PROTECT, related_name="repositories")
    path = models.CharField(max_length=1000)
    setup = models.TextField(blank=True, default="")
    setup_allowed = models.BooleanField(default=False)
    toolchain = models.JSONField(default=list, blank=True)
    removed_at = models.DateTimeField(
        null=True, blank=True, help_text="since then no new goal starts from it by panel or API"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "repositories"
        constraints = [models.UniqueConstraint(fields=["team", "path"], name="repository_path_unique")]

    def __str__(self) -> str:
        return self.path
