"""The installation in Prometheus' words. Everything is read from the database, so any web process tells the whole truth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .readiness import redis_answers
from .selectors import operations
from .selectors.outages import breaker_states

Values = Iterable[tuple[tuple[str, ...], float]]


class Installation(Collector):
    """Gauges of what there is now, counters of what has happened. Rows that are deleted look like a counter's restart."""

    def collect(self) -> Iterator[Metric]:
        workers = operations.live_workers()
        yield from self._work()
        yield from self._queues(operations.queue_states(workers))
        yield gauge("workers", "Worker processes that were seen within a minute.", [((), len(workers))])
        yield gauge("worker_threads", "Runs that they take at once.", [((), sum(w.threads for w in workers))])
        yield gauge("worker_age_seconds", "Since any worker was last seen.", _known(operations.worker_age()))
        yield gauge("beat_age_seconds", "Since celery-beat last ticked.", _known(operations.beat_age()))
        yield gauge("redis_up", "1: the broker answers.", [((), float(redis_answers()))])
        yield gauge("breaker_open", "What runs depend on: 0 there, 1 away.", breaker_states().items(), "dependency")
        yield from self._models(operations.spending())

    def _work(self) -> Iterator[Metric]:
        goals = [((status,), count) for status, count in operations.goal_counts().items()]
        yield gauge("goals", "Goals by status.", goals, "status")
        yield gauge("runs", "Runs by kind and status.", operations.run_counts().items(), "kind", "status")
        yield counter("run_losses", "How often a run lost its worker.", [((), operations.losses())])

    def _queues(self, states: list[operations.QueueState]) -> Iterator[Metric]:
        waits = [((state.queue,), state.waiting) for state in states]
        yield gauge("queue_waiting", "Runs that are due and that nobody has begun.", waits, "queue")
        oldest = [((state.queue,), state.oldest_seconds or 0.0) for state in states]
        yield gauge("queue_oldest_seconds", "How long the oldest of them has waited; 0: none waits.", oldest, "queue")
        serving = [((state.queue,), state.workers) for state in states]
        yield gauge("queue_workers", "Living workers that serve the queue.", serving, "queue")

    def _models(self, spent: list[operations.Spending]) -> Iterator[Metric]:
        yield counter("model_calls", "Calls of language models.", [((s.model,), s.calls) for s in spent], "model")
        tokens = [
            ((s.model, kind), float(getattr(s, kind))) for s in spent for kind in ("prompt", "completion", "cached")
        ]
        yield counter("model_tokens", "Tokens; the cached ones are among those of prompts.", tokens, "model", "kind")
        cost = [((s.model,), s.usd) for s in spent]
        yield counter("model_cost_usd", "Cost of the calls whose price is known.", cost, "model")
        unknown = [((s.model,), s.unpriced) for s in spent]
        yield counter("model_unpriced_calls", "Calls whose price is unknown; not in the cost.", unknown, "model")


def render() -> bytes:
    """The text that Prometheus scrapes."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Installation())
    return generate_latest(registry)


def gauge(name: str, words: str, values: Values, *labels: str) -> Metric:
    return _filled(GaugeMetricFamily(f"compymac_{name}", words, labels=labels), values)


def counter(name: str, words: str, values: Values, *labels: str) -> Metric:
    return _filled(CounterMetricFamily(f"compymac_{name}", words, labels=labels), values)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, values: Values) -> Metric:
    for labels, value in values:
        family.add_metric(labels, value)
    return family


def _known(age: float | None) -> Values:
    """No sample rather than an invented one: `absent()` is the alarm for it."""
    return [] if age is None else [((), age)]
