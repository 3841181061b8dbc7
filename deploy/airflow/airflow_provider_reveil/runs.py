"""A run as the API gives it, and what a task makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from airflow.providers.common.compat.sdk import AirflowException, AirflowSkipException

from airflow_provider_reveil.errors import ReveilRunCancelled, ReveilRunFailed, ReveilRunRefused
from airflow_provider_reveil.events import STILL_SENDS

WaitFor = Literal["sent", "confirmed"]
PartialFailure = Literal["fail", "warn", "skip"]

ENDED = frozenset({"done", "partial", "failed", "cancelled"})
#: Everything was sent; a platform has not given its verdict.
AWAITS_VERDICT = "pending"
#: States of a destination that a retry leaves alone.
SETTLED = frozenset({"done", AWAITS_VERDICT})
UNSUCCESSFUL = frozenset({"failed", "cancelled"})
TOTALS = ("added", "removed", "kept", "rejected", "requests")


class Run(Mapping[str, Any]):
    """One run, read-only: the API's own fields by name, and what follows from them."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __iter__(self) -> Any:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    @property
    def id(self) -> str:
        return str(self["id"])

    @property
    def state(self) -> str:
        return str(self["state"])

    @property
    def requested_at(self) -> str:
        return str(self.get("requested_at") or "")

    @property
    def still_sends(self) -> bool:
        return self.state in STILL_SENDS

    @property
    def is_sync(self) -> bool:
        return self.get("kind") in ("sync", "full") and not self.get("dry_run")

    @property
    def destinations(self) -> list[dict[str, Any]]:
        return list(self.get("destinations") or [])

    def reached(self, wait_for: WaitFor | None) -> bool:
        """Whether there is nothing left to wait for."""
        if self.state in ENDED or wait_for is None:
            return True
        return wait_for == "sent" and self.state == AWAITS_VERDICT

    def unfinished_destinations(self) -> list[str]:
        """Those that failed or whose turn never came."""
        return [str(one["destination"]) for one in self.destinations if one.get("state") not in SETTLED]

    def to_be_repeated(self, partial_failure: PartialFailure) -> bool:
        """Whether a retry of the task wants another run."""
        return self.state in UNSUCCESSFUL or (self.state == "partial" and partial_failure == "fail")

    def page(self, base_url: str) -> str:
        """The run's page for a person."""
        link = (self.get("links") or {}).get("page") or f"/runs/{self.id}"
        return link if "://" in link else f"{base_url}{link}"

    def statistics(self) -> dict[str, Any]:
        """Plain figures for XCom. Match rates stay per destination: different platforms' figures do not add up."""
        totals = self.get("totals") or {}
        return {
            "run_id": self.id,
            "audience": self.get("audience"),
            "state": self.state,
            "as_of": self.get("as_of"),
            "dry_run": bool(self.get("dry_run")),
            **{name: totals.get(name) for name in TOTALS},
            "destinations": {str(one["destination"]): _destination(one) for one in self.destinations},
        }

    def summary(self) -> str:
        """One line for the log."""
        totals = self.get("totals") or {}
        figures = ", ".join(f"{name} {totals[name]}" for name in TOTALS if totals.get(name) is not None)
        text = f"run {self.id} of audience {self.get('audience')!r} is {self.state}"
        return f"{text}: {figures}" if figures else text

    def why(self) -> str:
        """The run's faults, one a line, with what to do."""
        lines = [_fault("run", self["error"])] if self.get("error") else []
        lines += [_fault(str(one["destination"]), one["error"]) for one in self.destinations if one.get("error")]
        return "\n".join(lines)

    def _error_codes(self) -> list[str]:
        errors = [self.get("error"), *(one.get("error") for one in self.destinations)]
        return [str(error.get("code") or "") for error in errors if isinstance(error, Mapping)]

    @property
    def refused_by_guard(self) -> bool:
        """Whether a guard is all that stopped it: only then is a retry pointless for certain."""
        codes = self._error_codes()
        return bool(codes) and all(code.startswith("guard") for code in codes)


def settle(run: Run, partial_failure: PartialFailure) -> str | None:
    """Raises what the run's state calls for; gives a warning to log, or None when all is well."""
    if run.state == "cancelled":
        raise ReveilRunCancelled(f"{run.summary()}\n{run.why()}".rstrip())
    if run.state == "failed":
        raise _failure(run)(f"{run.summary()}\n{run.why()}".rstrip())
    if run.state != "partial":
        return None
    text = f"{run.summary()}; not done: {', '.join(run.unfinished_destinations()) or 'some'}\n{run.why()}".rstrip()
    if partial_failure == "fail":
        raise _failure(run)(text)
    if partial_failure == "skip":
        raise AirflowSkipException(text)
    return text


def _failure(run: Run) -> type[AirflowException]:
    return ReveilRunRefused if run.refused_by_guard else ReveilRunFailed


def checked_choice(name: str, value: Any, choices: Any, *, optional: bool = False) -> None:
    """Refuses a setting that is none of the choices, while the DAG is parsed."""
    known = get_args(choices)
    if value not in known and not (optional and value is None):
        offered = ", ".join(map(repr, known)) + (" or None" if optional else "")
        raise ValueError(f"{name} must be {offered}, not {value!r}")


def _destination(one: Mapping[str, Any]) -> dict[str, Any]:
    counts = one.get("counts") or {}
    reading: Mapping[str, Any] = next(iter(one.get("observations") or []), {})
    return {
        "state": one.get("state"),
        "added": counts.get("add"),
        "removed": counts.get("remove"),
        "kept": counts.get("keep"),
        "rejected": sum((counts.get("rejected") or {}).values()) + (counts.get("rejected_unnamed") or 0),
        "matched": reading.get("matched"),
        "rate": rate(reading),
        "rate_kind": reading.get("kind"),
        "rate_definition": reading.get("definition"),
    }


def rate(reading: Mapping[str, Any]) -> dict[str, float] | None:
    """The interval that a reading says the match rate lies in, if it says one."""
    if reading.get("low") is not None and reading.get("high") is not None:
        return {"low": reading["low"], "high": reading["high"]}
    if reading.get("kind") == "exact" and reading.get("matched") is not None and reading.get("sent"):
        share = min(1.0, reading["matched"] / reading["sent"])
        return {"low": share, "high": share}
    return None


def _fault(place: str, error: Any) -> str:
    if not isinstance(error, Mapping):
        return f"  {place}: {error}"
    hint = f" (hint: {error['hint']})" if error.get("hint") else ""
    return f"  {place}: {error.get('message') or error.get('code')}{hint}"
