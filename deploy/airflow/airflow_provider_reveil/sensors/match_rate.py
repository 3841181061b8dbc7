"""Waits until the platforms say how much of an audience they matched, and judges it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_reveil.deadlines import Deadlines
from airflow_provider_reveil.errors import ReveilApiError, ReveilCheckFailed, ReveilTimeout
from airflow_provider_reveil.hooks.reveil import ReveilHook
from airflow_provider_reveil.match_rates import (
    BELOW,
    NOT_OFFERED,
    WAITING,
    Bound,
    RateRule,
    Verdict,
    WhenBelow,
    WhenNotOffered,
    destinations_of,
    judge,
)
from airflow_provider_reveil.operators.run_request import iso_instant, listed, ratio
from airflow_provider_reveil.runs import checked_choice
from airflow_provider_reveil.triggers.match_rate import ReveilMatchRateTrigger
from airflow_provider_reveil.triggers.run import ERROR, TIMED_OUT

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class ReveilMatchRateSensor(BaseSensorOperator):
    """Waits for each destination's reading and asks whether it is at least `min_rate`.

    Platforms give intervals (`51–60 %`), seldom one figure, so you say which bound decides. Gives the readings by
    destination to XCom.

    What counts is the upload's own reading, or, where the platform tells none of so few persons, another view of the
    same run, such as the rate of the whole list. Say `run_id` or `newer_than`, or a reading of last week may pass.

    :param audience: the audience's key.
    :param min_rate: the share of sent persons that must be matched (0–1).
    :param bound: `low`: even the platform's lower bound must reach it; `high`: it is enough that it may be so.
    :param when_below: `fail`, `skip`, `warn` (succeed), or `wait` (rates grow for a day or two) until the time-out.
    :param when_not_offered: a platform that tells no rate, or at which the run failed, makes the task `fail`, or is
        left out (`ignore`).
    :param destinations: only these; by default those of the run, without `run_id` all of the audience's.
    :param newer_than: only readings taken after this instant, for example `{{ data_interval_end }}`.
    :param run_id: only readings of this run, usually `{{ ti.xcom_pull('sync') }}`, or of a later one that took over
        before the platform had said anything of this.
    :param min_sent: only readings over at least this many persons: a refresh of a few says little, and then the whole
        list's rate counts, where the platform tells it.
    :param deferrable: wait in the triggerer, after one look.
    :param reveil_conn_id: the Airflow connection of type `reveil`.
    """

    template_fields: Sequence[str] = (
        "reveil_conn_id",
        "audience",
        "destinations",
        "min_rate",
        "newer_than",
        "run_id",
    )
    ui_color = "#e4f0e2"

    def __init__(
        self,
        *,
        audience: str,
        min_rate: float | str,
        bound: Bound = "low",
        when_below: WhenBelow = "fail",
        when_not_offered: WhenNotOffered = "fail",
        destinations: Sequence[str] | str | None = None,
        newer_than: datetime | str | None = None,
        run_id: str | None = None,
        min_sent: int = 0,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        reveil_conn_id: str = ReveilHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        checked_choice("bound", bound, Bound)
        checked_choice("when_below", when_below, WhenBelow)
        checked_choice("when_not_offered", when_not_offered, WhenNotOffered)
        self.audience = audience
        self.min_rate = min_rate
        self.bound = bound
        self.when_below = when_below
        self.when_not_offered = when_not_offered
        self.destinations = destinations
        self.newer_than = newer_than
        self.run_id = run_id
        self.min_sent = min_sent
        self.deferrable = deferrable
        self.reveil_conn_id = reveil_conn_id

    @cached_property
    def hook(self) -> ReveilHook:
        return ReveilHook(self.reveil_conn_id)

    def execute(self, context: Context) -> Any:
        if not self.deferrable:
            return super().execute(context)
        first = self.poke(context)
        if first.is_done:
            return first.xcom_value
        deadlines = Deadlines.of(self.timeout, self.execution_timeout, context["ti"].start_date)
        self.defer(
            trigger=ReveilMatchRateTrigger(
                reveil_conn_id=self.reveil_conn_id,
                rule=self._rule().as_dict(),
                poll_interval=self.poke_interval,
                end_time=deadlines.end_time,
                execution_deadline=deadlines.execution_deadline,
            ),
            method_name="execute_complete",
            timeout=deadlines.backstop(self.poke_interval),
        )

    def poke(self, context: Context) -> PokeReturnValue:
        rule = self._rule()
        try:
            verdict = self._look(rule)
        except ReveilApiError as error:
            if not error.temporary:
                raise
            self.log.warning("%s. Still waiting", error)
            return PokeReturnValue(is_done=False)
        if verdict.status == WAITING:
            self.log.info("%s", verdict.text())
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=self._settle(verdict))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Takes over again after the trigger fired."""
        try:
            if event["status"] == TIMED_OUT:
                raise ReveilTimeout(event["message"])
            if event["status"] == ERROR:
                raise AirflowException(event["message"])
            return self._settle(Verdict(event["status"], event["lines"], event["readings"]))
        except AirflowSkipException:
            raise
        except AirflowException as error:
            # `soft_fail` is kept by Airflow around `poke` only.
            if self.soft_fail:
                raise AirflowSkipException(str(error)) from error
            raise

    def _rule(self) -> RateRule:
        min_rate = ratio("min_rate", self.min_rate)
        if min_rate is None:
            raise ValueError("min_rate is missing: a share between 0 and 1")
        return RateRule(
            audience=self.audience,
            min_rate=min_rate,
            bound=self.bound,
            when_below=self.when_below,
            when_not_offered=self.when_not_offered,
            destinations=listed(self.destinations),
            newer_than=iso_instant(self.newer_than),
            run_id=self.run_id or None,
            min_sent=self.min_sent,
        )

    def _look(self, rule: RateRule) -> Verdict:
        run = self.hook.run(rule.run_id) if rule.run_id else None
        audience = None if run is not None or rule.destinations is not None else self.hook.audience(rule.audience)
        observations = self.hook.observations(rule.audience, rule.newer_than)
        return judge(rule, destinations_of(rule, run, audience), observations, run)

    def _settle(self, verdict: Verdict) -> dict[str, Any]:
        if verdict.status == NOT_OFFERED:
            raise ReveilCheckFailed(
                f"{verdict.text()}\n  hint: name the destinations that tell one, or set when_not_offered='ignore'"
            )
        if verdict.status == BELOW:
            if self.when_below == "fail":
                raise ReveilCheckFailed(verdict.text())
            if self.when_below == "skip":
                raise AirflowSkipException(verdict.text())
            self.log.warning("%s", verdict.text())
        else:
            self.log.info("%s", verdict.text())
        return verdict.readings
