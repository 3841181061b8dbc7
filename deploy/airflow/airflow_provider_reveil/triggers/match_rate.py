"""Waits for match rates in the triggerer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_reveil.deadlines import Deadlines
from airflow_provider_reveil.errors import ReveilApiError
from airflow_provider_reveil.hooks.reveil_async import ReveilAsyncHook
from airflow_provider_reveil.match_rates import WAITING, RateRule, Verdict, destinations_of, judge
from airflow_provider_reveil.triggers.run import ERROR, TIMED_OUT


class ReveilMatchRateTrigger(BaseTrigger):
    """Fires once: when the rule is decided, when time ran out, or when the daemon refuses to tell.

    :param reveil_conn_id: the Airflow connection of type `reveil`.
    :param rule: a `RateRule` as a dictionary.
    :param poll_interval: seconds between two looks.
    :param end_time: seconds since the epoch at which waiting ends.
    :param execution_deadline: the same from the task's `execution_timeout`.
    """

    def __init__(
        self,
        reveil_conn_id: str,
        rule: dict[str, Any],
        poll_interval: float,
        end_time: float,
        execution_deadline: float | None = None,
    ) -> None:
        super().__init__()
        self.reveil_conn_id = reveil_conn_id
        self.rule = rule
        self.poll_interval = poll_interval
        self.end_time = end_time
        self.execution_deadline = execution_deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "airflow_provider_reveil.triggers.match_rate.ReveilMatchRateTrigger",
            {
                "reveil_conn_id": self.reveil_conn_id,
                "rule": self.rule,
                "poll_interval": self.poll_interval,
                "end_time": self.end_time,
                "execution_deadline": self.execution_deadline,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        try:
            event = await self._watch()
        except (ReveilApiError, ValueError) as error:
            event = TriggerEvent({"status": ERROR, "message": str(error)})
        yield event

    async def _watch(self) -> TriggerEvent:
        deadlines = Deadlines(self.end_time, self.execution_deadline)
        rule = RateRule.from_dict(self.rule)
        said: list[str] = []
        async with ReveilAsyncHook(self.reveil_conn_id) as hook:
            while True:
                try:
                    verdict = await self._look(hook, rule)
                    if verdict.status != WAITING:
                        return _event(verdict)
                    if verdict.lines != said:
                        said = verdict.lines
                        self.log.info("%s", verdict.text())
                except ReveilApiError as error:
                    if not error.temporary:
                        raise
                    self.log.warning("%s. Still waiting", error)
                if passed := deadlines.passed():
                    return TriggerEvent({"status": TIMED_OUT, "message": "\n".join([f"{passed} is over", *said])})
                await asyncio.sleep(deadlines.wait_secs(self.poll_interval))

    async def _look(self, hook: ReveilAsyncHook, rule: RateRule) -> Verdict:
        run = await hook.run(rule.run_id) if rule.run_id else None
        audience = None if run is not None or rule.destinations is not None else await hook.audience(rule.audience)
        observations = await hook.observations(rule.audience, rule.newer_than)
        return judge(rule, destinations_of(rule, run, audience), observations, run)


def _event(verdict: Verdict) -> TriggerEvent:
    return TriggerEvent({"status": verdict.status, "lines": verdict.lines, "readings": verdict.readings})
