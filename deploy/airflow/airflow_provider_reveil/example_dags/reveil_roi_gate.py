"""Spends nothing unless the projection says that the margin probably pays it.

The limits hold for an audience on one platform and for one on several alike.
"""

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
        # All platforms together, every person counted once.
        fail_if_below={"p_incremental_roi_positive": 0.5},
        # And on none of them may an order cost more than this.
        fail_if_above={"each.point.cpa": 60},
        on_failure="skip",
    )

    sync = ReveilSyncAudienceOperator(task_id="sync", audience="dormant")

    worth_it >> sync
