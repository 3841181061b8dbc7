"""Whether an audience's match rates are good enough: a decision about intervals, never about one blended figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from airflow_provider_reveil.operators.run_request import iso_instant
from airflow_provider_reveil.runs import rate

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


def judge(rule: RateRule, destinations: Sequence[str], observations: Sequence[Mapping[str, Any]]) -> Verdict:
    """The audience's verdict: below if any destination is, waiting if any has nothing to say yet."""
    verdict = Verdict(PASSED)
    found: set[str] = set()
    for name in destinations:
        status = _judge_one(rule, name, observations, verdict)
        found.add(status)
    if NOT_OFFERED in found and rule.when_not_offered == "ignore":
        found.discard(NOT_OFFERED)
        if not found:
            verdict.lines.append("no destination is left to check")
            found.add(NOT_OFFERED)
    if not destinations:
        verdict.lines.append(f"audience {rule.audience!r} has no destination")
        found.add(NOT_OFFERED)
    if BELOW in found and rule.when_below == "wait":
        found.add(WAITING)
        found.discard(BELOW)
    verdict.status = next(status for status in (BELOW, NOT_OFFERED, WAITING, PASSED) if status in found)
    return verdict


def _judge_one(rule: RateRule, name: str, observations: Sequence[Mapping[str, Any]], verdict: Verdict) -> str:
    latest = _latest(rule, name, observations)
    if latest is None or latest["kind"] == "pending":
        verdict.lines.append(f"{name}: no reading yet{_wanted(rule)}")
        return WAITING
    found = rate(latest)
    if latest["kind"] == "not_offered" or found is None:
        verdict.lines.append(f"{name}: the platform tells no match rate ({latest['kind']}: {latest.get('definition')})")
        return NOT_OFFERED
    told = {part: latest.get(part) for part in ("as_of", "sent", "kind", "matched", "definition", "run_id")}
    verdict.readings[name] = {**told, "rate": found}
    enough = found[rule.bound] >= rule.min_rate
    says = f"{_interval(found)} ({latest['kind']}, of {latest.get('sent')} sent)"
    verdict.lines.append(f"{name}: {says}, {_why(rule, found, enough)}")
    return PASSED if enough else BELOW


def _latest(rule: RateRule, name: str, observations: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The newest reading that counts. One that says nothing yet gives way to one that does."""
    fitting = [
        each
        for each in observations
        if each["destination"] == name
        and each.get("primary", True)
        and (rule.run_id is None or each.get("run_id") == rule.run_id)
        and (each.get("sent") or 0) >= rule.min_sent
        and (not rule.newer_than or _instant(each["as_of"]) > _instant(rule.newer_than))
    ]
    return max(fitting, key=lambda each: (each["kind"] != "pending", _instant(each["as_of"])), default=None)


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
