"""The requests of Réveil's API that this provider makes, as values; the two clients only carry them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

PAGE_LIMIT = 200


@dataclass(frozen=True)
class Call:
    """One request. `operation` completes the sentence "Could not …"."""

    operation: str
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    idempotency_key: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        return {"Idempotency-Key": self.idempotency_key} if self.idempotency_key else {}


def ready() -> Call:
    return Call("ask whether the daemon is ready", "GET", "/readyz")


def me() -> Call:
    return Call("ask whose token this is", "GET", "/v1/me")


def audiences() -> Call:
    return Call("list the audiences", "GET", "/v1/audiences")


def audience(key: str) -> Call:
    return Call(f"read audience {key!r}", "GET", f"/v1/audiences/{_segment(key)}")


def start_sync(key: str, options: Mapping[str, Any], idempotency_key: str) -> Call:
    path = f"/v1/audiences/{_segment(key)}/sync"
    return Call(f"start a sync of audience {key!r}", "POST", path, body=options, idempotency_key=idempotency_key)


def run(run_id: str) -> Call:
    return Call(f"read run {run_id}", "GET", f"/v1/runs/{_segment(run_id)}")


def cancel(run_id: str) -> Call:
    return Call(f"cancel run {run_id}", "POST", f"/v1/runs/{_segment(run_id)}/cancel")


def run_events(run_id: str) -> Call:
    return Call(f"follow run {run_id}", "GET", f"/v1/runs/{_segment(run_id)}/events")


def runs(key: str, state: str, limit: int = 20) -> Call:
    query = {"audience": key, "state": state, "limit": str(limit)}
    return Call(f"list the {state} runs of audience {key!r}", "GET", "/v1/runs", query=query)


def observations(key: str, since: str | None = None, cursor: str | None = None) -> Call:
    query = {"audience": key, "limit": str(PAGE_LIMIT)}
    if since:
        query["since"] = since
    if cursor:
        query["cursor"] = cursor
    return Call(f"read the match rates of audience {key!r}", "GET", "/v1/observations", query=query)


def project_roi(options: Mapping[str, Any]) -> Call:
    return Call("project the return", "POST", "/v1/roi/project", body=options)


def forget(identifiers: Sequence[Mapping[str, str]], reference: str | None, idempotency_key: str) -> Call:
    body: dict[str, Any] = {"identifiers": list(identifiers)}
    if reference:
        body["reference"] = reference
    return Call("ask for an erasure", "POST", "/v1/forget", body=body, idempotency_key=idempotency_key)


def forget_request(request_id: str) -> Call:
    return Call(f"read erasure request {request_id}", "GET", f"/v1/forget/{_segment(request_id)}")


def _segment(value: str) -> str:
    return quote(value, safe="")
