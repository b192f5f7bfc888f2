"""Events, artifacts, repositories, workers and queues: out only."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from ...models import Artifact, Event, Repository
from .fields import JSONObject


class EventOut(serializers.ModelSerializer[Event]):
    goal = serializers.UUIDField(source="goal_id", read_only=True)
    data = JSONObject(read_only=True)

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
    has_setup = serializers.SerializerMethodField(help_text="its tools are built before any agent works")
    toolchain = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = Repository
        fields = ["id", "path", "has_setup", "toolchain", "created_at"]
        read_only_fields = fields

    def get_has_setup(self, repository: Repository) -> bool:
        return bool(repository.setup and repository.setup_allowed)


class WorkerOut(serializers.Serializer[Any]):
    id = serializers.CharField(source="worker.id")
    is_alive = serializers.BooleanField(help_text="it was heard of within the last minute")
    queues = serializers.ListField(child=serializers.CharField(), source="worker.queues")
    threads = serializers.IntegerField(source="worker.threads")
    running = serializers.IntegerField(help_text="runs that it works on now")
    model = serializers.CharField(source="worker.model")
    sandbox = serializers.CharField(source="worker.sandbox")
    started_at = serializers.DateTimeField(source="worker.started_at")
    seen_at = serializers.DateTimeField(source="worker.seen_at")


class QueueOut(serializers.Serializer[Any]):
    name = serializers.CharField()
    waiting = serializers.IntegerField(help_text="runs that could be claimed now")
    later = serializers.IntegerField(help_text="runs that wait for a retry's delay or a paused goal")
    oldest = serializers.DateTimeField(allow_null=True, help_text="since when the oldest waits")
    workers = serializers.IntegerField(help_text="living workers that serve it")
    threads = serializers.IntegerField()
    is_alarm = serializers.BooleanField(help_text="work waits and nobody serves it")
    command = serializers.CharField(help_text="starts a worker for it")
