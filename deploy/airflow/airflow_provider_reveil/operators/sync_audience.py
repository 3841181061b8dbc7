"""Brings an audience up to date and waits for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_provider_reveil.assets.audience import audience_asset, describe_event
from airflow_provider_reveil.deadlines import Deadlines
from airflow_provider_reveil.errors import ReveilApiError, ReveilPermanentError, ReveilTimeout
from airflow_provider_reveil.hooks.reveil import ReveilHook
from airflow_provider_reveil.links.run_page import RUN_URL_KEY, ReveilRunLink
from airflow_provider_reveil.openlineage import audience as lineage
from airflow_provider_reveil.operators.run_request import RunRequest, flag, is_template
from airflow_provider_reveil.runs import PartialFailure, Run, WaitFor, checked_choice, out_of_time, settle
from airflow_provider_reveil.triggers.run import ERROR, TIMED_OUT, ReveilRunTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

STATISTICS_KEY = "statistics"
#: A run without a data interval (Airflow 3, started by hand) is as of now.
INTERVAL_END = "{{ data_interval_end if data_interval_end is defined and data_interval_end else '' }}"


class ReveilSyncAudienceOperator(BaseOperator):
    """Asks Réveil to bring an audience's destinations up to date.

    Gives the run's id. Also in XCom: `statistics` (added, removed, kept, rejected and requests in all; rejects by
    reason, matched and rate for each destination) and `run_url`.

    A retry finds the run of the try before it: it waits on while that runs, takes its result if it succeeded, and asks
    for a new run only if it failed. Killing or timing out the task cancels the run unless everything had been sent.

    :param audience: the audience's key.
    :param destinations: only these of its destinations.
    :param as_of: the segment as of this instant (ISO 8601 or a datetime); by default the end of the data interval, or
        now where there is none. None: now.
    :param full: send everybody again, which repairs drift. This and the other switches may be templates that render to
        `true` or `false`.
    :param allow: guards to let pass (`empty`, `shrink`, `growth`, `below-minimum`, `no-consent-column`); audited.
    :param retry_rejected: send members again that a platform refused before.
    :param dry_run: plan only, nothing is sent and no asset event comes of it.
    :param max_removal_ratio: refuse to remove more than this share of an audience's members (0–1).
    :param fail_on_reject_ratio: fail when a platform rejects more than this share of what was sent (0–1), whatever
        `partial_failure` says, and without a retry.
    :param partial_failure: when some destinations failed and others are done: `fail`, `warn` (succeed) or `skip`.
    :param wait_for: `sent`, `confirmed` (the platforms' verdicts too, which may take a day), or None (do not wait).
    :param retry_from_failure: whether a retry after a failed run concerns only the destinations that failed.
    :param reuse_existing_run: attach to the audience's running or queued sync, whoever asked for it, rather than queue
        another. Such a run is not cancelled with the task.
    :param deferrable: wait in the triggerer; by default as `[operators] default_deferrable` says.
    :param poll_interval: seconds between two looks at the run.
    :param timeout: seconds to wait for the run, by default three days: a platform may take one to decide on an earlier
        upload, on top of which nothing is sent, and another for this one.
    :param emit_asset: add the audience's asset to the task's outlets (for an audience known without templates).
    :param asset_host: the host in the asset's URI; by default the connection's id.
    :param reveil_conn_id: the Airflow connection of type `reveil`.
    """

    template_fields: Sequence[str] = (
        "reveil_conn_id",
        "audience",
        "destinations",
        "as_of",
        "full",
        "allow",
        "retry_rejected",
        "plan_only",
        "max_removal_ratio",
        "fail_on_reject_ratio",
    )
    operator_extra_links = (ReveilRunLink(),)
    ui_color = "#fde9d9"

    def __init__(
        self,
        *,
        audience: str,
        destinations: Sequence[str] | str | None = None,
        as_of: datetime | str | None = INTERVAL_END,
        full: bool | str = False,
        allow: Sequence[str] | str | None = None,
        retry_rejected: bool | str = False,
        dry_run: bool | str = False,
        max_removal_ratio: float | str | None = None,
        fail_on_reject_ratio: float | str | None = None,
        partial_failure: PartialFailure = "fail",
        wait_for: WaitFor | None = "sent",
        retry_from_failure: bool = True,
        reuse_existing_run: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 15,
        timeout: float = 3 * 24 * 3600,
        emit_asset: bool = True,
        asset_host: str | None = None,
        reveil_conn_id: str = ReveilHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        checked_choice("partial_failure", partial_failure, PartialFailure)
        checked_choice("wait_for", wait_for, WaitFor, optional=True)
        for name, value in (("full", full), ("retry_rejected", retry_rejected), ("dry_run", dry_run)):
            if not is_template(value):
                flag(name, value)
        self.audience = audience
        self.destinations = destinations
        self.as_of = as_of
        self.full = full
        self.allow = allow
        self.retry_rejected = retry_rejected
        # Airflow's operators have a method `dry_run`.
        self.plan_only = dry_run
        self.max_removal_ratio = max_removal_ratio
        self.fail_on_reject_ratio = fail_on_reject_ratio
        self.partial_failure = partial_failure
        self.wait_for = wait_for
        self.retry_from_failure = retry_from_failure
        self.reuse_existing_run = reuse_existing_run
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.asset_host = asset_host
        self.reveil_conn_id = reveil_conn_id
        self.run: Run | None = None
        self.owns_run = True
        self._request: RunRequest | None = None
        self._asset = self._outlet() if emit_asset and wait_for and not self._only_plans() else None
        if self._asset is not None:
            self.outlets = [*self.outlets, self._asset]

    @cached_property
    def hook(self) -> ReveilHook:
        return ReveilHook(self.reveil_conn_id)

    def execute(self, context: Context) -> str:
        task_instance = context["ti"]
        try:
            self._request = RunRequest.of(self, task_instance)
        except ValueError as fault:
            # A template that renders to nonsense does so again at the next try.
            raise ReveilPermanentError(str(fault)) from None
        try:
            self.run, self.owns_run = self._request.obtain(self.hook)
        except ReveilApiError as error:
            raise _permanent(error) from None
        self.log.info("%s", self.run.summary())
        task_instance.xcom_push(key=RUN_URL_KEY, value=self.run.page(self.hook.settings.base_url))
        if self.run.reached(self.wait_for):
            return self._finish(context)
        deadlines = Deadlines.of(self.timeout, self.execution_timeout, task_instance.start_date)
        if self.deferrable:
            self._defer(deadlines)
        self._wait(deadlines)
        return self._finish(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> str:
        """Takes over again after the trigger fired."""
        self.run = self.hook.run(event["run_id"])
        if event["status"] == TIMED_OUT:
            raise ReveilTimeout(event["message"])
        if event["status"] == ERROR:
            raise ReveilPermanentError(event["message"])
        return self._finish(context)

    def on_kill(self) -> None:
        """Cancels the run; also one whose id has not come back yet."""
        if not self.owns_run or (self.run is None and self._request is None):
            return
        try:
            run = self.run or self._request.in_flight(self.hook)  # type: ignore[union-attr]
            if run is not None and self.hook.cancel_unsent(run.id):
                self.log.info("Cancelled run %s: the task was ended", run.id)
        except (ReveilApiError, ValueError):
            self.log.warning("Could not cancel the run of audience %s", self.audience, exc_info=True)

    def _defer(self, deadlines: Deadlines) -> None:
        assert self.run is not None  # noqa: S101
        self.defer(
            trigger=ReveilRunTrigger(
                reveil_conn_id=self.reveil_conn_id,
                run_id=self.run.id,
                wait_for=self.wait_for or "sent",
                poll_interval=self.poll_interval,
                end_time=deadlines.end_time,
                execution_deadline=deadlines.execution_deadline,
                cancel_run=self.owns_run,
            ),
            method_name="execute_complete",
            timeout=deadlines.backstop(self.poll_interval),
        )

    def _wait(self, deadlines: Deadlines) -> None:
        assert self.run is not None  # noqa: S101
        seen = 0
        said: list[str] = []
        while not self.run.reached(self.wait_for):
            if passed := deadlines.passed():
                self.on_kill()
                raise ReveilTimeout(out_of_time(passed, self.run.id, self.wait_for, self.run))
            for event in self.hook.follow_run(self.run.id, seen, deadlines.wait_secs(self.poll_interval)):
                seen = event.seq
                (self.log.warning if event.is_warning else self.log.info)("%s", event.line())
            try:
                self.run = self.hook.run(self.run.id)
            except ReveilApiError as error:
                # A daemon that restarts or upgrades is no reason to give up a wait of hours.
                if not error.temporary:
                    raise _permanent(error) from None
                self.log.warning("%s. Still waiting for run %s", error, self.run.id)
                continue
            if not self.run.reached(self.wait_for) and (waiting_for := self.run.waiting_for()) != said:
                said = waiting_for
                self.log.info("%s", self.run.summary())
                for line in waiting_for:
                    self.log.info("Waiting for %s", line)

    def _finish(self, context: Context) -> str:
        assert self.run is not None  # noqa: S101
        statistics = self.run.statistics()
        context["ti"].xcom_push(key=STATISTICS_KEY, value=statistics)
        for line in self.run.rejects():
            self.log.warning("%s", line)
        if warning := settle(self.run, self.partial_failure):
            self.log.warning("%s", warning)
        else:
            self.log.info("%s", self.run.summary())
        if self.run.get("dry_run"):
            # Where `dry_run` is a template, whether it is one was not known when the DAG was parsed.
            self.outlets = [outlet for outlet in self.outlets if outlet is not self._asset]
        elif self._asset is not None:
            facts = {name: value for name, value in statistics.items() if name not in ("destinations", "dry_run")}
            describe_event(context["outlet_events"], self._asset, facts)
        return self.run.id

    def _only_plans(self) -> bool:
        """Whether it is known, before templates are rendered, that nothing will be sent."""
        return not is_template(self.plan_only) and flag("dry_run", self.plan_only)

    def _outlet(self) -> Any:
        host = self.asset_host or self.reveil_conn_id
        named = isinstance(self.audience, str) and isinstance(host, str)
        return audience_asset(self.audience, host) if named and not is_template(self.audience + host) else None

    # Lineage, asked for by Airflow's OpenLineage provider

    def get_openlineage_facets_on_start(self) -> Any:
        return lineage.planned(self.audience, self.hook.settings.host)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        if self.run is None:
            return lineage.planned(self.audience, self.hook.settings.host)
        return lineage.done(self.run, self.hook.settings)


class ReveilFullResyncOperator(ReveilSyncAudienceOperator):
    """Sends a whole audience again and lets the platform drop the rest, without a gap: for drift, not for every day.

    Takes what `ReveilSyncAudienceOperator` takes, but `full`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(full=True, **kwargs)


def _permanent(error: ReveilApiError) -> Exception:
    """The same error, as one that Airflow does not retry if only a person can mend it."""
    return error if error.temporary else ReveilPermanentError(str(error))
