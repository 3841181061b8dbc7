"""DAGs that the integration tests run."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_reveil.operators.sync_audience import ReveilSyncAudienceOperator
from airflow_provider_reveil.sensors.match_rate import ReveilMatchRateSensor
from airflow_provider_reveil.sensors.run import ReveilRunSensor

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
QUICK = {"poll_interval": 1, "retry_delay": timedelta(seconds=1)}


def dag(dag_id: str) -> DAG:
    return DAG(dag_id=dag_id, schedule=None, start_date=START, catchup=False)


with dag("check_deferred"):
    sync = ReveilSyncAudienceOperator(task_id="sync", audience="dormant", deferrable=True, **QUICK)
    verdict = ReveilRunSensor(
        task_id="verdict", run_id="{{ ti.xcom_pull('sync') }}", deferrable=True, poke_interval=1, timeout=120
    )
    rate = ReveilMatchRateSensor(
        task_id="rate",
        audience="dormant",
        destinations=["meta"],
        min_rate=0.01,
        deferrable=True,
        poke_interval=1,
        timeout=120,
    )
    sync >> verdict >> rate

with dag("check_worker"):
    # Sends everybody again, so that there is something to be slow at.
    ReveilSyncAudienceOperator(task_id="sync", audience="dormant", full=True, retries=1, deferrable=False, **QUICK)

with dag("check_rejects"):
    # A second try would succeed: what a platform refused is not sent again.
    ReveilSyncAudienceOperator(
        task_id="sync", audience="dormant", full=True, fail_on_reject_ratio=0.05, retries=1, deferrable=False, **QUICK
    )

with DAG(dag_id="check_dry_run", schedule=None, start_date=START, catchup=False, params={"plan_only": True}):
    ReveilSyncAudienceOperator(
        task_id="sync", audience="dormant", dry_run="{{ params.plan_only }}", deferrable=True, **QUICK
    )

with dag("check_triggerer"):
    ReveilSyncAudienceOperator(task_id="sync", audience="dormant", full=True, deferrable=True, **QUICK)
