"""The least: one audience, refreshed every night."""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_reveil.operators.sync_audience import ReveilSyncAudienceOperator

with DAG(
    dag_id="reveil_minimal",
    schedule="0 5 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="Europe/Paris"),
    # An audience has one present: running old intervals one after the other would only move it back and forth.
    catchup=False,
    max_active_runs=1,
    tags=["reveil"],
):
    ReveilSyncAudienceOperator(task_id="sync", audience="dormant", retries=2)
