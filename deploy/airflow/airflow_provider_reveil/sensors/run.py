"""Waits for a run that something else started."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowSkipException, BaseSensorOperator, conf

from airflow_provider_reveil.deadlines import Deadlines
from airflow_provider_reveil.errors import ReveilApiError, ReveilTimeout
from airflow_provider_reveil.hooks.reveil import ReveilHook
from airflow_provider_reveil.runs import PartialFailure, WaitFor, checked_choice, settle
from airflow_provider_reveil.triggers.run import ERROR, TIMED_OUT, ReveilRunTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class ReveilRunSensor(BaseSensorOperator):
    """Succeeds when the run got as far as asked; fails when it failed or was cancelled. It never cancels the run.

    :param run_id: the run, usually `{{ ti.xcom_pull("sync") }}`.
    :param wait_for: `sent` or `confirmed`.
    :param partial_failure: `fail`, `warn` or `skip`.
    :param deferrable: wait in the triggerer, after one look.
    :param reveil_conn_id: the Airflow connection of type `reveil`.
    """

    template_fields: Sequence[str] = ("reveil_conn_id", "run_id")
    ui_color = "#fde9d9"

    def __init__(
        self,
        *,
        run_id: str,
        wait_for: WaitFor = "confirmed",
        partial_failure: PartialFailure = "fail",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        reveil_conn_id: str = ReveilHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        checked_choice("wait_for", wait_for, WaitFor)
        checked_choice("partial_failure", partial_failure, PartialFailure)
        self.run_id = run_id
        self.wait_for = wait_for
        self.partial_failure = partial_failure
        self.deferrable = deferrable
        self.reveil_conn_id = reveil_conn_id

    @cached_property
    def hook(self) -> ReveilHook:
        return ReveilHook(self.reveil_conn_id)

    def execute(self, context: Context) -> Any:
        if not self.deferrable:
            return super().execute(context)
        if self.poke(context):
            return None
        deadlines = Deadlines.of(self.timeout, self.execution_timeout, context["ti"].start_date)
        self.defer(
            trigger=ReveilRunTrigger(
                reveil_conn_id=self.reveil_conn_id,
                run_id=self.run_id,
                wait_for=self.wait_for,
                poll_interval=self.poke_interval,
                end_time=deadlines.end_time,
                execution_deadline=deadlines.execution_deadline,
                cancel_run=False,
            ),
            method_name="execute_complete",
            timeout=deadlines.backstop(self.poke_interval),
        )

    def poke(self, context: Context) -> bool:
        try:
            run = self.hook.run(self.run_id)
        except ReveilApiError as error:
            if not error.temporary:
                raise
            self.log.warning("%s. Still waiting for run %s", error, self.run_id)
            return False
        self.log.info("%s", run.summary())
        if not run.reached(self.wait_for):
            for line in run.waiting_for():
                self.log.info("Waiting for %s", line)
            return False
        for line in run.rejects():
            self.log.warning("%s", line)
        if warning := settle(run, self.partial_failure):
            self.log.warning("%s", warning)
        return True

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:
        """Takes over again after the trigger fired."""
        try:
            if event["status"] == TIMED_OUT:
                raise ReveilTimeout(event["message"])
            if event["status"] == ERROR:
                raise AirflowException(event["message"])
            self.poke(context)
        except AirflowSkipException:
            raise
        except AirflowException as error:
            # `soft_fail` is kept by Airflow around `poke` only.
            if self.soft_fail:
                raise AirflowSkipException(str(error)) from error
            raise
