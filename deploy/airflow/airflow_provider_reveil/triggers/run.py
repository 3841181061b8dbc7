"""Waits for a run in the triggerer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_reveil.deadlines import Deadlines
from airflow_provider_reveil.errors import ReveilApiError
from airflow_provider_reveil.hooks.reveil_async import ReveilAsyncHook
from airflow_provider_reveil.killed import TRIGGERS_ARE_TOLD, task_was_ended
from airflow_provider_reveil.runs import Run, WaitFor, out_of_time

REACHED = "reached"
TIMED_OUT = "timed_out"
ERROR = "error"


class ReveilRunTrigger(BaseTrigger):
    """Fires once: when the run got as far as `wait_for`, when time ran out, or when the daemon refuses to tell.

    :param reveil_conn_id: the Airflow connection of type `reveil`.
    :param run_id: the run.
    :param wait_for: `sent` or `confirmed`.
    :param poll_interval: seconds between two looks at the run; its events are followed meanwhile.
    :param end_time: seconds since the epoch at which waiting ends.
    :param execution_deadline: the same from the task's `execution_timeout`.
    :param cancel_run: whether the run is cancelled when time runs out or somebody ends the task.
    :param after_seq: the last event that was logged.
    """

    def __init__(
        self,
        reveil_conn_id: str,
        run_id: str,
        wait_for: WaitFor,
        poll_interval: float,
        end_time: float,
        execution_deadline: float | None = None,
        cancel_run: bool = True,
        after_seq: int = 0,
    ) -> None:
        super().__init__()
        self.reveil_conn_id = reveil_conn_id
        self.run_id = run_id
        self.wait_for = wait_for
        self.poll_interval = poll_interval
        self.end_time = end_time
        self.execution_deadline = execution_deadline
        self.cancel_run = cancel_run
        self.after_seq = after_seq

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "airflow_provider_reveil.triggers.run.ReveilRunTrigger",
            {
                "reveil_conn_id": self.reveil_conn_id,
                "run_id": self.run_id,
                "wait_for": self.wait_for,
                "poll_interval": self.poll_interval,
                "end_time": self.end_time,
                "execution_deadline": self.execution_deadline,
                "cancel_run": self.cancel_run,
                "after_seq": self.after_seq,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        try:
            event = await self._watch()
        except asyncio.CancelledError:
            if not TRIGGERS_ARE_TOLD:
                await self._cancel_if_task_was_ended()
            raise
        except (ReveilApiError, ValueError) as error:
            event = self._event(ERROR, message=str(error))
        yield event

    async def on_kill(self) -> None:
        """Somebody marked or cleared the task while it was deferred. Airflow calls this from 3.3 on."""
        await self._cancel("the task was ended by a person")

    async def _watch(self) -> TriggerEvent:
        deadlines = Deadlines(self.end_time, self.execution_deadline)
        run: Run | None = None
        said: list[str] = []
        async with ReveilAsyncHook(self.reveil_conn_id) as hook:
            while True:
                try:
                    run = await hook.run(self.run_id)
                    if run.reached(self.wait_for):
                        return self._event(REACHED)
                    if (waiting_for := run.waiting_for()) != said:
                        said = waiting_for
                        self.log.info("%s", run.summary())
                        for line in waiting_for:
                            self.log.info("Waiting for %s", line)
                except ReveilApiError as error:
                    # A daemon that restarts or upgrades is no reason to give up a wait of hours.
                    if not error.temporary:
                        raise
                    self.log.warning("%s. Still waiting for run %s", error, self.run_id)
                if passed := deadlines.passed():
                    await self._cancel(f"{passed} is over")
                    return self._event(TIMED_OUT, message=out_of_time(passed, self.run_id, self.wait_for, run))
                wait_secs = deadlines.wait_secs(self.poll_interval)
                async for event in hook.follow_run(self.run_id, self.after_seq, wait_secs):
                    self.after_seq = event.seq
                    (self.log.warning if event.is_warning else self.log.info)("%s", event.line())

    def _event(self, status: str, **more: Any) -> TriggerEvent:
        return TriggerEvent({"status": status, "run_id": self.run_id, **more})

    async def _cancel(self, why: str) -> None:
        if not self.cancel_run:
            return
        try:
            async with ReveilAsyncHook(self.reveil_conn_id) as hook:
                if await hook.cancel_unsent(self.run_id):
                    self.log.info("Cancelled run %s: %s", self.run_id, why)
        except (ReveilApiError, ValueError):
            self.log.warning("Could not cancel run %s (%s)", self.run_id, why, exc_info=True)

    async def _cancel_if_task_was_ended(self) -> None:
        # Shielded: the triggerer may cancel once more while the question is under way.
        await asyncio.shield(self._ask_and_cancel())

    async def _ask_and_cancel(self) -> None:
        expired = Deadlines(self.end_time, self.execution_deadline).passed()
        if expired or await task_was_ended(self):
            await self._cancel("the task was ended")
