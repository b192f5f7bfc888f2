"""The live stream of one goal's pages: it says *that* something changed, the page asks *what*."""

from __future__ import annotations

from uuid import UUID

from asgiref.sync import sync_to_async
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from .. import streaming
from ..journal import release_connection
from ..roles import Action
from ..selectors.access import goals_for
from .acting import needs


@needs(Action.SEE)
async def stream(request: HttpRequest, goal_id: UUID) -> HttpResponseBase:
    """Rights are checked before anything is said. Starts after `Last-Event-ID`, else after `?after=`."""
    if request.method != "GET":
        return HttpResponse(status=405, headers={"Allow": "GET"})
    user = await request.auser()
    if not await sync_to_async(_may_see)(user, goal_id):
        raise Http404
    if not streaming.has_room():
        again = {"Retry-After": str(streaming.AGAIN)}
        return HttpResponse("too many streams are open", status=503, headers=again, content_type="text/plain")
    after = streaming.place_of(request.headers.get("Last-Event-ID", ""), request.GET.get("after", ""))
    return StreamingHttpResponse(
        streaming.follow(user, goal_id, after), content_type="text/event-stream", headers=streaming.HEADERS
    )


stream.answers_401 = True  # type: ignore[attr-defined]  # a stream follows no redirect to a login form


def _may_see(user: object, goal_id: UUID) -> bool:
    try:
        return goals_for(user).filter(pk=goal_id).exists()
    finally:
        release_connection()
