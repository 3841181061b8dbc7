"""Whether an audience's match rates are good enough: a decision about intervals, never about one blended figure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from airflow_provider_reveil.operators.run_request import iso_instant
from airflow_provider_reveil.runs import Run, rate

Bound = Literal["low", "high"]
WhenBelow = Literal["fail", "wait", "skip", "warn"]
WhenNotOffered = Literal["fail", "ignore"]

WAITING = "waiting"
PASSED = "passed"
BELOW = "below"
NOT_OFFERED = "not_offered"


@dataclass(frozen=True)
class RateRule:
    """What is asked of the readings. Plain values, so that it travels in a trigger."""

    audience: str
    min_rate: float
    bound: Bound = "low"
    when_below: WhenBelow = "fail"
    when_not_offered: WhenNotOffered = "fail"
    destinations: Sequence[str] | None = None
    newer_than: str | None = None
    run_id: str | None = None
    min_sent: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "destinations": None if self.destinations is None else list(self.destinations)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> RateRule:
        return cls(**fields)


@dataclass
class Verdict:
    """`status` is WAITING, PASSED, BELOW or NOT_OFFERED; `lines` say why, one a destination."""

    status: str
    lines: list[str] = field(default_factory=list)
    readings: dict[str, dict[str, Any]] = field(default_factory=dict)

    def text(self) -> str:
        return "\n".join(self.lines)


def judge(
    rule: RateRule,
    destinations: Sequence[str],
    observations: Sequence[Mapping[str, Any]],
    run: Run | None = None,
) -> Verdict:
    """The audience's verdict: below if any destination is, waiting if any has no reading yet. `run` is the rule's."""
    if run is not None and run.still_sends:
        return Verdict(WAITING, [run.summary(), *run.waiting_for()])
    failed = run.failed_destinations() if run is not None else ()
    verdict = Verdict(PASSED)
    found: set[str] = set()
    for name in destinations:
        status = _judge_one(rule, name, observations, failed, verdict)
        found.add(status)
    if NOT_OFFERED in found and rule.when_not_offered == "ignore":
        found.discard(NOT_OFFERED)
        if not found:
            verdict.lines.append("no destination is left to check")
            found.add(NOT_OFFERED)
    if not destinations:
        place = f"audience {rule.audience!r}" if run is None else f"run {run.id}"
        verdict.lines.append(f"{place} has no destination")
        found.add(NOT_OFFERED)
    if BELOW in found and rule.when_below == "wait":
        found.add(WAITING)
        found.discard(BELOW)
    verdict.status = next(status for status in (BELOW, NOT_OFFERED, WAITING, PASSED) if status in found)
    return verdict


def destinations_of(rule: RateRule, run: Run | None, audience: Mapping[str, Any] | None) -> list[str]:
    """Those to judge: the ones named, else the run's (a retry's run may concern only some), else the audience's."""
    if rule.destinations is not None:
        return list(rule.destinations)
    if run is not None:
        return [str(one["destination"]) for one in run.destinations]
    return [str(one["name"]) for one in (audience or {}).get("destinations") or []]


def _judge_one(
    rule: RateRule,
    name: str,
    observations: Sequence[Mapping[str, Any]],
    failed: Collection[str],
    verdict: Verdict,
) -> str:
    found = choose(rule, [each for each in observations if each["destination"] == name])
    if found.reading is None and name in failed:
        verdict.lines.append(f"{name}: run {rule.run_id} failed there, so no reading will come")
        return NOT_OFFERED
    if found.reading is None:
        verdict.lines.append(f"{name}: {found.why}{_wanted(rule)}")
        return WAITING if found.may_come else NOT_OFFERED
    reading = found.reading
    interval = rate(reading)
    assert interval is not None  # noqa: S101 - only such readings are chosen
    told = {part: reading.get(part) for part in ("as_of", "sent", "kind", "matched", "definition", "run_id", "primary")}
    verdict.readings[name] = {**told, "rate": interval}
    enough = interval[rule.bound] >= rule.min_rate
    says = f"{_interval(interval)} ({reading['kind']}, of {reading.get('sent')} {_persons(reading)})"
    verdict.lines.append(f"{name}: {says}, {_why(rule, interval, enough)}")
    return PASSED if enough else BELOW


@dataclass(frozen=True)
class Choice:
    """The reading that counts, or why there is none and whether one may still come."""

    reading: Mapping[str, Any] | None
    why: str = ""
    may_come: bool = True


def choose(rule: RateRule, observations: Sequence[Mapping[str, Any]]) -> Choice:
    """The best usable reading of one destination.

    Run by run, the newest first; with `run_id` that run, and a later one only where it says nothing. Of a run, the
    latest of the upload's own readings (`primary`) that tells a rate; if they tell none and never will (`not_offered`,
    a bare count, too few persons), the latest other view, such as the rate of the whole list. An own reading that is
    `pending` is not replaced by another view, which may still be that of the list before.
    """
    runs = _by_run(rule, observations)
    for readings in runs:
        if found := _telling(rule, readings):
            return Choice(found)
    # None tells a rate: whether one will is the latest run's to say, since the daemon asks in its name.
    latest = max(runs, key=_latest, default=None)
    return Choice(None, "no reading yet") if latest is None else _silence(rule, latest)


def _telling(rule: RateRule, readings: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    telling = [each for each in readings if (each.get("sent") or 0) >= rule.min_sent and rate(each) is not None]
    if own := _newest(each for each in telling if _is_own(each)):
        return own
    own = _newest(each for each in readings if _is_own(each))
    return None if own is not None and own["kind"] == "pending" else _newest(telling)


def _silence(rule: RateRule, readings: Sequence[Mapping[str, Any]]) -> Choice:
    reading = _newest(each for each in readings if _is_own(each)) or _newest(readings)
    assert reading is not None  # noqa: S101 - a run is known by its readings
    if reading["kind"] == "pending":
        return Choice(None, "no reading yet")
    if (reading.get("sent") or 0) < rule.min_sent:
        # A later run may be about more persons; a given one will not.
        return Choice(None, f"only a reading of {reading.get('sent')} persons", may_come=rule.run_id is None)
    says = f"{reading['kind']}: {reading.get('definition')}"
    return Choice(None, f"the platform tells no match rate ({says})", may_come=False)


def _by_run(rule: RateRule, observations: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """The readings that the rule admits, by run, the best run first."""
    runs: dict[Any, list[Mapping[str, Any]]] = {}
    for each in observations:
        if not rule.newer_than or _instant(each["as_of"]) > _instant(rule.newer_than):
            runs.setdefault(each.get("run_id"), []).append(each)
    newest_first = sorted(runs.values(), key=_latest, reverse=True)
    if rule.run_id is None:
        return newest_first
    own = runs.get(rule.run_id)
    if own is None:
        return []
    # The daemon takes further readings in the name of the audience's latest run.
    begun = min(map(_when, own))
    later = [readings for readings in newest_first if readings is not own and min(map(_when, readings)) > begun]
    return [own, *later]


def _newest(readings: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return max(readings, key=_when, default=None)


def _latest(readings: Iterable[Mapping[str, Any]]) -> datetime:
    return max(map(_when, readings))


def _is_own(reading: Mapping[str, Any]) -> bool:
    return bool(reading.get("primary", True))


def _persons(reading: Mapping[str, Any]) -> str:
    return "sent" if _is_own(reading) else "in the list; the upload's own reading tells no rate"


def _when(reading: Mapping[str, Any]) -> datetime:
    return _instant(reading["as_of"])


def _why(rule: RateRule, interval: Mapping[str, float], enough: bool) -> str:
    text = f"{_percent(rule.min_rate)} wanted of the {rule.bound} bound: {'enough' if enough else 'below'}"
    if interval["low"] < rule.min_rate <= interval["high"]:
        text += " (the platform's figure alone cannot tell: the other bound says otherwise)"
    return text


def _wanted(rule: RateRule) -> str:
    since = f" newer than {rule.newer_than}" if rule.newer_than else ""
    run = f" of run {rule.run_id}" if rule.run_id else ""
    return since + run


def _interval(interval: Mapping[str, float]) -> str:
    low, high = _percent(interval["low"]), _percent(interval["high"])
    return low if low == high else f"{low.removesuffix(' %')}–{high}"


def _percent(share: float) -> str:
    return f"{share * 100:.1f}".removesuffix(".0") + " %"


def _instant(value: str) -> datetime:
    text = iso_instant(value)
    assert text is not None  # noqa: S101 - callers pass what is there
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
