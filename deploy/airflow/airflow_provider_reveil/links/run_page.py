"""The button that leads from a task to its run's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.models.taskinstancekey import TaskInstanceKey

RUN_URL_KEY = "run_url"


class ReveilRunLink(BaseOperatorLink):
    """Opens the run in Réveil: progress, counts, rejected members with reasons, match rates."""

    name = "Réveil run"

    @property
    def xcom_key(self) -> str:
        """Airflow 3 shows what is stored under this key, so the link is there as soon as the run is, not at the end."""
        return RUN_URL_KEY

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        return XCom.get_value(key=RUN_URL_KEY, ti_key=ti_key) or ""
