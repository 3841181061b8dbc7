"""Projects what a campaign would bring, and can stop a DAG before money is spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseOperator

from airflow_provider_reveil.errors import ReveilApiError, ReveilCheckFailed, ReveilPermanentError
from airflow_provider_reveil.hooks.reveil import ReveilHook
from airflow_provider_reveil.operators.run_request import listed
from airflow_provider_reveil.projections import Projection
from airflow_provider_reveil.runs import checked_choice

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

FIGURES_KEY = "figures"
OnFailure = Literal["fail", "skip"]


class ReveilProjectRoiOperator(BaseOperator):
    """Asks Réveil for a projection and gives it, as `reveil roi project --json` prints it, to XCom.

    The answer has two shapes: of one platform, or, where the audience has destinations on several, each of them under
    `platforms` and beside it what all bring together, every person counted once. The XCom `figures` has one shape:
    `together`, and `platforms` by name with `point` and `simulation`.

    A figure is named by its place. Of all platforms together, alike for one and for several: `cost`,
    `persons_reached.p50`, `incremental_buyers.p50`, `incremental_roi.p50`, `p_incremental_roi_positive`. Of one:
    `meta.point.roi`; of every one: `each.point.cpa`. With one platform its name may be left out. A bare name is looked
    for at the top, then under `simulation`. A figure that is not there fails and never passes.

    :param audience: learn from this audience: its match rates, its own orders, its spontaneous return.
    :param platforms: only these, a list or `meta, google`; by default the audience's.
    :param inactives: inactive customers in the segment; needed without an audience.
    :param budget: media budget.
    :param options: any other option of `reveil roi project`, with `_` for `-`: `{"margin": 0.4, "cap": 8}`.
    :param fail_if_below: the least that must come out, by figure:
        `{"p_incremental_roi_positive": 0.8, "each.point.roi": 0}`.
    :param fail_if_above: the most, in the same way: `{"meta.point.cpa": 40}`.
    :param on_failure: `fail`, or `skip` what comes after.
    :param reveil_conn_id: the Airflow connection of type `reveil`.
    """

    template_fields: Sequence[str] = (
        "reveil_conn_id",
        "audience",
        "platforms",
        "inactives",
        "budget",
        "options",
        "fail_if_below",
        "fail_if_above",
    )
    ui_color = "#e6e9f7"

    def __init__(
        self,
        *,
        audience: str | None = None,
        platforms: Sequence[str] | str | None = None,
        inactives: int | str | None = None,
        budget: float | str | None = None,
        options: Mapping[str, Any] | None = None,
        fail_if_below: Mapping[str, float] | None = None,
        fail_if_above: Mapping[str, float] | None = None,
        on_failure: OnFailure = "fail",
        reveil_conn_id: str = ReveilHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        checked_choice("on_failure", on_failure, OnFailure)
        self.audience = audience
        self.platforms = platforms
        self.inactives = inactives
        self.budget = budget
        self.options = options
        self.fail_if_below = fail_if_below
        self.fail_if_above = fail_if_above
        self.on_failure = on_failure
        self.reveil_conn_id = reveil_conn_id

    @cached_property
    def hook(self) -> ReveilHook:
        return ReveilHook(self.reveil_conn_id)

    def execute(self, context: Context) -> dict[str, Any]:
        try:
            answer = self.hook.project_roi(self._body())
        except ReveilApiError as error:
            raise (error if error.temporary else ReveilPermanentError(str(error))) from None
        projection = Projection(answer)
        for warning in projection.warnings():
            self.log.warning("%s", warning)
        context["ti"].xcom_push(key=FIGURES_KEY, value=projection.figures())
        self._check(projection)
        return answer

    def _body(self) -> dict[str, Any]:
        body = {
            "audience": self.audience,
            "platform": listed(self.platforms),
            "inactives": _whole(self.inactives),
            "budget": _text(self.budget),
        }
        return {name: value for name, value in {**body, **(self.options or {})}.items() if value is not None}

    def _check(self, projection: Projection) -> None:
        faults = []
        for place, limit in (self.fail_if_below or {}).items():
            for name, value in projection.find(place).items():
                self.log.info("%s is %g, at least %g wanted", name, value, float(limit))
                if value < float(limit):
                    faults.append(f"{name} is {value:g}, below {float(limit):g}")
        for place, limit in (self.fail_if_above or {}).items():
            for name, value in projection.find(place).items():
                self.log.info("%s is %g, at most %g wanted", name, value, float(limit))
                if value > float(limit):
                    faults.append(f"{name} is {value:g}, above {float(limit):g}")
        if faults:
            text = "The projection says no: " + "; ".join(faults)
            raise AirflowSkipException(text) if self.on_failure == "skip" else ReveilCheckFailed(text)


def _whole(value: int | str | None) -> int | None:
    return None if value is None or value == "" else int(value)


def _text(value: float | str | None) -> str | None:
    """Assumptions are texts in the API, since they may be distributions: `9000`, `5%`, `beta(2,98)`."""
    return None if value is None or value == "" else str(value)
