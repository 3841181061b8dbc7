"""Spends nothing unless the projection says that the margin probably pays it."""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_reveil.operators.project_roi import ReveilProjectRoiOperator
from airflow_provider_reveil.operators.sync_audience import ReveilSyncAudienceOperator

with DAG(
    dag_id="reveil_roi_gate",
    schedule="0 6 1 * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="Europe/Paris"),
    catchup=False,
    max_active_runs=1,
    tags=["reveil"],
):
    worth_it = ReveilProjectRoiOperator(
        task_id="worth_it",
        audience="dormant",
        budget=9000,
        options={"margin": "0.4", "fixed": "250"},
        fail_if_below={"p_incremental_roi_positive": 0.5},
        on_failure="skip",
    )

    sync = ReveilSyncAudienceOperator(task_id="sync", audience="dormant")

    worth_it >> sync
