"""Who works here, and what waits for whom."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from ..selectors.fleet import waiting_for_nobody, worker_rows
from ..selectors.operations import queue_states
from ..selectors.outages import outages
from ..selectors.schedules import beat_silence
from .acting import OWN, needs
from .asking import page_or_fragment


@needs(OWN)
@require_safe
def worker_list(request: HttpRequest) -> HttpResponse:
    rows = worker_rows(request.user)
    queues = queue_states([row.worker for row in rows if row.is_alive])
    ticked_at, silent = beat_silence()
    context = {
        "workers": rows,
        "alive": [row for row in rows if row.is_alive],
        "queues": queues,
        "unserved": waiting_for_nobody(queues),
        "outages": outages(),
        "ticked_at": ticked_at,
        "is_beat_silent": silent,
    }
    return page_or_fragment(request, "orchestration/worker_list.html", "orchestration/_worker_list.html", context)
