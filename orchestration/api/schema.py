"""The OpenAPI document: what drf-spectacular cannot know, said once for all endpoints."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema

from .problems import MEDIA_TYPE

WHAT = {
    400: "It cannot be read: bad JSON, or a query parameter that is unknown or unusable.",
    401: "No token, or one that is unknown, expired, revoked or in the address.",
    403: "Your role in the team does not allow it; or you are logged in to the panel, and the CSRF token is missing.",
    404: "There is nothing here that you may see.",
    406: "Only the media types that are named here can be had.",
    409: "Not in this status; or a request with this Idempotency-Key is being answered right now.",
    413: "The body is larger than 1 MiB.",
    415: "The body is not application/json.",
    422: "It was read, and a value in it cannot be used; or the Idempotency-Key belongs to another request.",
    503: "The database (or room for one more stream) is away for the moment: see Retry-After.",
}
REQUEST_ID = {"X-Request-ID": {"description": "Yours, or one of ours.", "schema": {"type": "string"}}}
RETRY_AFTER = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
PROBLEM = {
    "type": "object",
    "description": "RFC 9457. `errors` names the place: `pointer` into the body, or `parameter` of the query.",
    "required": ["type", "title", "status", "detail", "instance", "request_id", "errors"],
    "properties": {
        "type": {"type": "string", "format": "uri", "examples": ["urn:compymac:problem:illegal-move"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What happened and what to do, for people."},
        "instance": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["detail"],
                "properties": {
                    "pointer": {"type": "string"},
                    "parameter": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}


def _name(status: int) -> str:
    return HTTPStatus(status).phrase.replace(" ", "")


COMPONENTS: dict[str, Any] = {
    "schemas": {"Problem": PROBLEM},
    "responses": {
        _name(status): {
            "description": said,
            "headers": REQUEST_ID | (RETRY_AFTER if status == 503 else {}),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, said in WHAT.items()
    },
}


class Documented(AutoSchema):
    """Every operation with its problems and with X-Request-ID."""

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        operation = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        for answer in operation["responses"].values():
            answer["headers"] = {**answer.get("headers", {}), **REQUEST_ID}
        for status in self._problems():
            operation["responses"][str(status)] = {"$ref": f"#/components/responses/{_name(status)}"}
        return operation

    def get_summary(self) -> str | None:
        noun = self.path.removeprefix("/api/v1/").split("/")[0]
        reads = {"list": f"List {noun}: those that you may see.", "retrieve": f"One of the {noun}."}
        return super().get_summary() or reads.get(getattr(self.view, "action", ""))

    def _problems(self) -> list[int]:
        found = [400, 401, 406, 503]
        if "{" in self.path:
            found.append(404)
        if self.method != "GET":
            found += [403, 409]
        if self.method in ("POST", "PATCH"):
            found += [413, 415, 422]
        return sorted(found)


def complete(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Hook: the bodies that we take have no other fields than these; and what the operations refer to."""
    for kind, named in COMPONENTS.items():
        result["components"].setdefault(kind, {}).update(named)
    schemas = result["components"]["schemas"]
    inputs = ("Input", "Change", "Limits", "Nothing", "Request")
    for name, schema in schemas.items():
        if name.removesuffix("Request").removeprefix("Patched").endswith(inputs) and "properties" in schema:
            schema["additionalProperties"] = False
    return result


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # spectacular has no types here
    target_class = "orchestration.api.authentication.BearerToken"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer cmk_…`"}
