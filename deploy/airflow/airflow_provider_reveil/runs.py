"""A run as the API gives it, and what a task makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from airflow.providers.common.compat.sdk import AirflowException, AirflowSkipException

from airflow_provider_reveil.errors import ReveilRunCancelled, ReveilRunFailed, ReveilRunRefused
from airflow_provider_reveil.events import STILL_SENDS

WaitFor = Literal["sent", "confirmed"]
PartialFailure = Literal["fail", "warn", "skip"]

VERDICT_IS_OPEN = "the platform has not given its verdict on what was sent"
ENDED = frozenset({"done", "partial", "failed", "cancelled"})
#: Everything was sent; a platform has not given its verdict.
AWAITS_VERDICT = "pending"
#: States of a destination that a retry leaves alone.
SETTLED = frozenset({"done", AWAITS_VERDICT})
UNSUCCESSFUL = frozenset({"failed", "cancelled"})
#: The error of a destination whose platform refused more than `fail_on_reject_ratio`. Those members are remembered and
#: not sent again, so another run would succeed and hide it.
TOO_MANY_REJECTED = "too_many_rejected"
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

    def failed_destinations(self) -> list[str]:
        """Those where it ended without success, so that no match reading will come of it."""
        return [str(one["destination"]) for one in self.destinations if one.get("state") in UNSUCCESSFUL]

    def to_be_repeated(self, partial_failure: PartialFailure) -> bool:
        """Whether a retry of the task wants another run."""
        if self.too_many_rejected:
            return False
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

    def waiting_for(self) -> list[str]:
        """What a platform has still to decide before the run ends, one a destination, in the daemon's words.

        A run that meets undecided uploads of an earlier one goes back to `queued` and goes on by itself.
        """
        if self.state in ENDED:
            return []
        undecided = [one for one in self.destinations if one.get("state") == AWAITS_VERDICT]
        told = {str(one["destination"]): "; ".join(one.get("warnings") or []) for one in undecided}
        return [f"{name}: {says or VERDICT_IS_OPEN}" for name, says in told.items()]

    def rejects(self) -> list[str]:
        """Who was refused, by reason, one line a destination."""
        by_destination = {str(one["destination"]): _rejected(one) for one in self.destinations}
        return [
            f"{name} rejected {sum(reasons.values())} members: "
            + ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
            for name, reasons in by_destination.items()
            if reasons
        ]

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

    @property
    def too_many_rejected(self) -> bool:
        return TOO_MANY_REJECTED in self._error_codes()


def settle(run: Run, partial_failure: PartialFailure) -> str | None:
    """Raises what the run's state calls for; gives a warning to log, or None when all is well."""
    if run.state == "cancelled":
        raise ReveilRunCancelled(f"{run.summary()}\n{run.why()}".rstrip())
    if run.state == "failed" or run.too_many_rejected:
        raise _failure(run)(f"{run.summary()}\n{run.why()}".rstrip())
    if run.state != "partial":
        return None
    text = f"{run.summary()}; not done: {', '.join(run.unfinished_destinations()) or 'some'}\n{run.why()}".rstrip()
    if partial_failure == "fail":
        raise _failure(run)(text)
    if partial_failure == "skip":
        raise AirflowSkipException(text)
    return text


def out_of_time(limit: str, run_id: str, wait_for: str | None, run: Run | None) -> str:
    """Why a wait ended, and what it was still waiting for."""
    text = f"{limit} was over before run {run_id} was {wait_for}"
    return text if run is None else "\n".join([text, f"  {run.summary()}", *(f"  {one}" for one in run.waiting_for())])


def _failure(run: Run) -> type[AirflowException]:
    return ReveilRunRefused if run.refused_by_guard or run.too_many_rejected else ReveilRunFailed


def checked_choice(name: str, value: Any, choices: Any, *, optional: bool = False) -> None:
    """Refuses a setting that is none of the choices, while the DAG is parsed."""
    known = get_args(choices)
    if value not in known and not (optional and value is None):
        offered = ", ".join(map(repr, known)) + (" or None" if optional else "")
        raise ValueError(f"{name} must be {offered}, not {value!r}")


def _destination(one: Mapping[str, Any]) -> dict[str, Any]:
    counts = one.get("counts") or {}
    rejected = _rejected(one)
    reading = _reading_to_show(one.get("observations") or [])
    return {
        "state": one.get("state"),
        "added": counts.get("add"),
        "removed": counts.get("remove"),
        "kept": counts.get("keep"),
        "rejected": sum(rejected.values()),
        "rejected_by_reason": rejected,
        "matched": reading.get("matched"),
        "rate": rate(reading),
        "rate_kind": reading.get("kind"),
        "rate_of": reading.get("sent"),
        "rate_definition": reading.get("definition"),
        "warnings": list(one.get("warnings") or []),
    }


def _rejected(one: Mapping[str, Any]) -> dict[str, int]:
    """Refused members by reason; `unnamed` are entries that the platform refused without naming the member."""
    counts = one.get("counts") or {}
    reasons = {**(counts.get("rejected") or {}), "unnamed": counts.get("rejected_unnamed") or 0}
    return {reason: count for reason, count in reasons.items() if count}


def _reading_to_show(readings: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The upload's own reading, which comes first, unless it will never say anything and another one does."""
    first: Mapping[str, Any] = next(iter(readings), {})
    if rate(first) is not None or first.get("kind") == "pending":
        return first
    return next((each for each in readings if rate(each) is not None), first)


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
