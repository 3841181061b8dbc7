"""What a task asks of the daemon, and how it gets hold of its run: a new one, or the one of an earlier try."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_provider_reveil import idempotency
from airflow_provider_reveil.hooks.reveil import ReveilHook
from airflow_provider_reveil.openlineage import audience as lineage
from airflow_provider_reveil.runs import PartialFailure, Run

if TYPE_CHECKING:
    from airflow_provider_reveil.operators.sync_audience import ReveilSyncAudienceOperator

log = logging.getLogger(__name__)
MAX_ORIGIN_CHARS = 1000


@dataclass
class RunRequest:
    """One task's request, with its templates rendered."""

    audience: str
    options: dict[str, Any]
    task_instance: Any
    retries: int
    partial_failure: PartialFailure
    retry_from_failure: bool
    reuse_existing_run: bool
    origin: str
    #: What was asked last, so that a killed task can find a run whose id it has not been told.
    last_key: str | None = None
    last_options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, operator: ReveilSyncAudienceOperator, task_instance: Any) -> RunRequest:
        return cls(
            audience=operator.audience,
            options=sync_options(operator),
            task_instance=task_instance,
            retries=operator.retries or 0,
            partial_failure=operator.partial_failure,
            retry_from_failure=operator.retry_from_failure,
            reuse_existing_run=operator.reuse_existing_run,
            origin=origin(task_instance),
        )

    def obtain(self, hook: ReveilHook) -> tuple[Run, bool]:
        """The run to wait for, and whether it is this task's own.

        Each try of a round has a key of its own. They are gone through from the first: a try that got as far as asking
        left a run under its key, and only one that failed makes the next key count. So however a worker died, there is
        at most one new run a try, and never two at once.
        """
        if self.reuse_existing_run and (active := hook.active_run(self.audience)):
            log.info("Attaching to run %s, asked for by %s", active.id, active.get("requested_by"))
            return active, False
        round_, tries = idempotency.generations(self.task_instance, self.retries)
        options = self.options
        for generation in tries:
            run = self._ask(hook, options, idempotency.key(self.task_instance, round_, generation, options))
            if generation == tries[-1] or not run.to_be_repeated(self.partial_failure):
                break
            log.info("The run of try %s does not count: %s", generation, run.summary())
            if self.retry_from_failure and run.state != "cancelled" and (rest := run.unfinished_destinations()):
                options = {**self.options, "destinations": rest}
        return run, True

    def in_flight(self, hook: ReveilHook) -> Run | None:
        """The run asked for last, by asking the same again under its key."""
        return None if self.last_key is None else self._ask(hook, self.last_options, self.last_key)

    def _ask(self, hook: ReveilHook, options: dict[str, Any], key: str) -> Run:
        self.last_key, self.last_options = key, options
        # Not part of the key: it names the try, and a later try shall find the same run.
        return hook.start_sync(self.audience, {**options, "origin": self.origin}, key)


def origin(task_instance: Any) -> str:
    """Who asks, for the run's page and the audit log; with OpenLineage, also the run that Réveil's is a child of."""
    place = f"{task_instance.dag_id}.{task_instance.task_id}"
    mapped = f"[{task_instance.map_index}]" if task_instance.map_index >= 0 else ""
    text = f"Airflow {place}{mapped}, run {task_instance.run_id}, try {task_instance.try_number}"
    if parent := lineage.parent(task_instance):
        text += f"; OpenLineage parent {parent}"
    return "".join(char for char in text if char.isprintable())[:MAX_ORIGIN_CHARS]


def sync_options(operator: ReveilSyncAudienceOperator) -> dict[str, Any]:
    """The request's body: what was set, and nothing else."""
    options = {
        "as_of": iso_instant(operator.as_of),
        "destinations": listed(operator.destinations),
        "allow": listed(operator.allow),
        "full": flag("full", operator.full),
        "retry_rejected": flag("retry_rejected", operator.retry_rejected),
        "dry_run": flag("dry_run", operator.plan_only),
        "max_removal_ratio": ratio("max_removal_ratio", operator.max_removal_ratio),
        "fail_on_reject_ratio": ratio("fail_on_reject_ratio", operator.fail_on_reject_ratio),
    }
    return {name: value for name, value in options.items() if value is not None and value is not False}


def listed(value: Sequence[str] | str | None) -> list[str] | None:
    """A list, or a template that rendered to `a, b`."""
    if value is None:
        return None
    names = value.split(",") if isinstance(value, str) else value
    return [str(name).strip() for name in names if str(name).strip()] or None


def flag(name: str, value: bool | str) -> bool:
    """A switch, or a template that rendered to one. Nothing else: guessing might send what was not meant."""
    if isinstance(value, bool):
        return value
    known = {"true": True, "false": False}
    word = value.strip().lower() if isinstance(value, str) else None
    if word not in known:
        raise ValueError(f"{name} must be true or false, not {value!r}")
    return known[word]


def is_template(value: Any) -> bool:
    return not isinstance(value, (bool, int, float)) and ("{{" in str(value) or "{%" in str(value))


def ratio(name: str, value: float | str | None) -> float | None:
    if value is None or value == "":
        return None
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError(f"{name} is a share between 0 and 1, not {number:g}")
    return number


def iso_instant(value: datetime | str | None) -> str | None:
    """An instant as the API reads it; Airflow renders `2026-01-01 00:00:00+00:00`."""
    if not value:
        return None
    if isinstance(value, str):
        value = datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
    if value.tzinfo is None:
        value = value.replace(tzinfo=timezone.utc)
    return value.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ").replace(".000000Z", "Z")
