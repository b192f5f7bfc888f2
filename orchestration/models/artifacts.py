"""Artifact: bytes that outlive Redis."""

from __future__ import annotations

from django.db import models


class Artifact(models.Model):
    """`data` is `encoding`-ed (empty or zlib); `sha256` and `size` are of the plain bytes. `expires_at` null: kept."""

    id = models.CharField(primary_key=True, max_length=200)
    goal = models.ForeignKey("Goal", null=True, blank=True, on_delete=models.CASCADE, related_name="artifacts")
    kind = models.CharField(max_length=40, default="value")
    media_type = models.CharField(max_length=100, default="application/json")
    encoding = models.CharField(max_length=10, blank=True, default="")
    sha256 = models.CharField(max_length=64)
    size = models.PositiveIntegerField()
    data = models.BinaryField()
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)
    expires_at = models.DateTimeField(null=True, blank=True, db_index=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.id
