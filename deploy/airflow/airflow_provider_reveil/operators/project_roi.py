"""Projects what a campaign would bring, and can stop a DAG before money is spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseOperator

from airflow_provider_reveil.errors import ReveilApiError, ReveilCheckFailed, ReveilPermanentError
from airflow_provider_reveil.hooks.reveil import ReveilHook
from airflow_provider_reveil.runs import checked_choice

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

OnFailure = Literal["fail", "skip"]


class ReveilProjectRoiOperator(BaseOperator):
    """Asks Réveil for a projection and gives it, as `reveil roi project --json` prints it, to XCom.

    :param audience: learn from this audience: its match rates, its own orders, its spontaneous return.
    :param inactives: inactive customers in the segment; needed without an audience.
    :param budget: media budget.
    :param options: any other option of `reveil roi project`, with `_` for `-`: `{"margin": 0.4, "cap": 8}`.
    :param fail_if_below: the least that must come out: a figure's place in the answer and the limit, for example
        `{"p_roi_positive": 0.8, "point.roi": 0}`. A bare name is looked for at the top, then under `simulation`.
    :param fail_if_above: the most, in the same way: `{"point.cpa": 40}`.
    :param on_failure: `fail`, or `skip` what comes after.
    :param reveil_conn_id: the Airflow connection of type `reveil`.
    """

    template_fields: Sequence[str] = (
        "reveil_conn_id",
        "audience",
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
            projection = self.hook.project_roi(self._body())
        except ReveilApiError as error:
            raise (error if error.temporary else ReveilPermanentError(str(error))) from None
        for warning in projection.get("warnings") or []:
            self.log.warning("%s", warning)
        self._check(projection)
        return projection

    def _body(self) -> dict[str, Any]:
        body = {"audience": self.audience, "inactives": _whole(self.inactives), "budget": _text(self.budget)}
        return {name: value for name, value in {**body, **(self.options or {})}.items() if value is not None}

    def _check(self, projection: Mapping[str, Any]) -> None:
        faults = []
        for place, limit in (self.fail_if_below or {}).items():
            value = figure(projection, place)
            self.log.info("%s is %g, at least %g wanted", place, value, float(limit))
            if value < float(limit):
                faults.append(f"{place} is {value:g}, below {float(limit):g}")
        for place, limit in (self.fail_if_above or {}).items():
            value = figure(projection, place)
            self.log.info("%s is %g, at most %g wanted", place, value, float(limit))
            if value > float(limit):
                faults.append(f"{place} is {value:g}, above {float(limit):g}")
        if faults:
            text = "The projection says no: " + "; ".join(faults)
            raise AirflowSkipException(text) if self.on_failure == "skip" else ReveilCheckFailed(text)


def figure(projection: Mapping[str, Any], place: str) -> float:
    """A number of the projection by its dotted place."""
    for start in (projection, projection.get("simulation") or {}):
        found: Any = start
        for step in place.split("."):
            found = found.get(step) if isinstance(found, Mapping) else None
        if isinstance(found, (int, float)) and not isinstance(found, bool):
            return float(found)
    raise ReveilPermanentError(f"the projection has no figure {place!r}; see `reveil roi project --json`")


def _whole(value: int | str | None) -> int | None:
    return None if value is None or value == "" else int(value)


def _text(value: float | str | None) -> str | None:
    """Assumptions are texts in the API, since they may be distributions: `9000`, `5%`, `beta(2,98)`."""
    return None if value is None or value == "" else str(value)
