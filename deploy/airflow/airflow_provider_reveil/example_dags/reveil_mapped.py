"""One mapped task for each audience; at most two at a time."""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_reveil.hooks.reveil import ReveilHook
from airflow_provider_reveil.operators.sync_audience import ReveilSyncAudienceOperator

with DAG(
    dag_id="reveil_mapped",
    schedule="0 5 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="Europe/Paris"),
    catchup=False,
    max_active_runs=1,
    tags=["reveil"],
):

    @task
    def audiences() -> list[str]:
        """Those that the daemon knows and nobody has paused."""
        items = ReveilHook().audiences()
        return [item["key"] for item in items if not item["paused"]]

    @task
    def total(statistics: list[dict]) -> dict[str, int]:
        figures = {name: sum(each[name] or 0 for each in statistics) for name in ("added", "removed", "rejected")}
        print(figures)
        return figures

    sync = ReveilSyncAudienceOperator.partial(task_id="sync", max_active_tis_per_dag=2, retries=2).expand(
        audience=audiences()
    )
    total(sync.output["statistics"])
