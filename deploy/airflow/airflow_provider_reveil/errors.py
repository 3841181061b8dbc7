"""What can go wrong, as types a DAG can catch. No text here ever holds a token, a header or a body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504})
#: The first request with this idempotency key is still being answered.
RETRIED_CODES = frozenset({"key_in_use"})
UNREACHABLE = "unreachable"


class ReveilApiError(AirflowException):
    """The daemon refused a request, or could not be reached.

    `code` is the daemon's stable code (`unreachable` if there was no answer), `hint` what to do about it and
    `request_id` what to look for in the daemon's log.
    """

    def __init__(
        self,
        operation: str,
        *,
        code: str,
        detail: str = "",
        status: int | None = None,
        hint: str | None = None,
        request_id: str | None = None,
        faults: list[str] | None = None,
    ) -> None:
        self.operation = operation
        self.status = status
        self.code = code
        self.detail = detail
        self.hint = hint
        self.request_id = request_id
        self.faults = faults or []
        super().__init__(self._text())

    @property
    def temporary(self) -> bool:
        """Whether the same request may succeed later without anybody mending anything."""
        return self.status is None or self.status in RETRIED_STATUSES or self.code in RETRIED_CODES

    def _text(self) -> str:
        parts = [f"Could not {self.operation}: {self.detail or 'the daemon gave no reason'}"]
        parts.append(f" ({self.status} {self.code})" if self.status else f" ({self.code})")
        parts.extend(f"\n  {fault}" for fault in self.faults)
        if self.hint:
            parts.append(f"\n  hint: {self.hint}")
        if self.request_id:
            parts.append(f"\n  request id: {self.request_id}")
        return "".join(parts)

    @classmethod
    def from_problem(cls, operation: str, status: int, problem: Any, headers: Mapping[str, str]) -> ReveilApiError:
        """From an RFC 9457 problem document, or from whatever a proxy answered in its place."""
        document = problem if isinstance(problem, Mapping) else {}
        return cls(
            operation,
            status=status,
            code=_text(document.get("code")) or f"http_{status}",
            detail=_text(document.get("detail")) or _text(document.get("title")),
            hint=_text(document.get("hint")) or None,
            request_id=_text(document.get("request_id")) or headers.get("x-request-id"),
            faults=[_fault(fault) for fault in document.get("errors") or []],
        )

    @classmethod
    def unreachable(cls, operation: str, base_url: str, cause: BaseException) -> ReveilApiError:
        """From a network failure. Only its type is told: such errors quote whole requests."""
        return cls(
            operation,
            code=UNREACHABLE,
            detail=f"no answer from {base_url} ({type(cause).__name__})",
            hint="check the connection's URL, its time-out, and that the daemon is up (GET /readyz)",
        )


class ReveilPermanentError(AirflowFailException):
    """A request that will be refused again until a person changes something: Airflow does not retry the task."""


class ReveilRunFailed(AirflowException):
    """A run ended as failed, or as partial where partial counts as failed."""


class ReveilRunCancelled(AirflowException):
    """Somebody cancelled the run."""


class ReveilRunRefused(AirflowFailException):
    """A guard refused the run. Trying again changes nothing, so Airflow does not retry the task."""


class ReveilTimeout(AirflowException):
    """The time given ran out. The run was cancelled unless everything had been sent."""


class ReveilCheckFailed(AirflowException):
    """A match rate or a projection is on the wrong side of the limit."""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _fault(fault: Any) -> str:
    """One entry of a problem's `errors`: a sentence, or an object with a place and a message."""
    if not isinstance(fault, Mapping):
        return str(fault)
    place = _text(fault.get("pointer")) or _text(fault.get("field")) or _text(fault.get("parameter"))
    says = _text(fault.get("detail")) or _text(fault.get("message"))
    return f"{place}: {says}" if place else says
