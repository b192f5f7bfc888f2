"""Events, artifacts, repositories, workers and queues: out only."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from ...models import Artifact, Breaker, Event, Repository, Worker
from .fields import JSONObject


class EventOut(serializers.ModelSerializer[Event]):
    goal = serializers.UUIDField(source="goal_id", read_only=True)
    data = JSONObject(read_only=True)  # type: ignore[assignment]  # fields leave the class

    class Meta:
        model = Event
        fields = ["goal", "seq", "kind", "subject", "old", "new", "by", "reason", "data", "at"]
        read_only_fields = fields


class ArtifactOut(serializers.ModelSerializer[Artifact]):
    goal = serializers.UUIDField(source="goal_id", allow_null=True, read_only=True)

    class Meta:
        model = Artifact
        fields = ["id", "goal", "kind", "media_type", "sha256", "size", "created_at", "expires_at"]
        read_only_fields = fields


class RepositoryOut(serializers.ModelSerializer[Repository]):
    team = serializers.CharField(source="team.name", read_only=True)
    has_setup = serializers.SerializerMethodField(help_text="its tools are built before any agent works")
    toolchain = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = Repository
        fields = ["id", "team", "path", "has_setup", "toolchain", "created_at"]
        read_only_fields = fields

    def get_has_setup(self, repository: Repository) -> bool:
        return bool(repository.setup and repository.setup_allowed)


class WorkerOut(serializers.ModelSerializer[Worker]):
    is_alive = serializers.BooleanField(read_only=True, help_text="it was heard of within the last minute")
    running = serializers.IntegerField(read_only=True, help_text="runs that it works on now")
    queues = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = Worker
        fields = ["id", "is_alive", "queues", "threads", "running", "model", "sandbox", "started_at", "seen_at"]
        read_only_fields = fields


class QueueOut(serializers.Serializer[Any]):
    queue = serializers.CharField()
    waiting = serializers.IntegerField(help_text="runs that could be claimed now")
    oldest_seconds = serializers.FloatField(allow_null=True, help_text="how long the oldest waits; null: nothing does")
    workers = serializers.IntegerField(help_text="living workers that serve it")
    threads = serializers.IntegerField()
    command = serializers.CharField(help_text="starts a worker for it")


class BreakerOut(serializers.ModelSerializer[Breaker]):
    class Meta:
        model = Breaker
        fields = ["name", "status", "failures", "failed_at", "opened_at", "probe_at", "last_error"]
        read_only_fields = fields
