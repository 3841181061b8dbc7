"""dbt builds the tables, Réveil refreshes the audience, the match rate is checked, and people are told."""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG, TriggerRule, task

from airflow_provider_reveil.operators.sync_audience import ReveilSyncAudienceOperator
from airflow_provider_reveil.sensors.match_rate import ReveilMatchRateSensor
from airflow_provider_reveil.sensors.run import ReveilRunSensor

try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:  # Airflow 2 without the standard provider
    from airflow.operators.bash import BashOperator

with DAG(
    dag_id="reveil_after_dbt",
    schedule="0 4 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="Europe/Paris"),
    catchup=False,
    max_active_runs=1,
    tags=["reveil"],
):
    build = BashOperator(
        task_id="dbt_build",
        bash_command="dbt build --project-dir /opt/shop --select +customers +orders",
    )

    sync = ReveilSyncAudienceOperator(
        task_id="sync",
        audience="dormant",
        max_removal_ratio=0.2,
        fail_on_reject_ratio=0.05,
        partial_failure="warn",
        deferrable=True,
        retries=2,
        retry_delay=timedelta(minutes=10),
    )

    verdict = ReveilRunSensor(
        task_id="platforms_decided",
        run_id="{{ ti.xcom_pull('sync') }}",
        wait_for="confirmed",
        partial_failure="warn",
        deferrable=True,
        poke_interval=300,
        timeout=36 * 3600,
    )

    match_rate = ReveilMatchRateSensor(
        task_id="match_rate",
        audience="dormant",
        min_rate=0.4,
        bound="low",
        when_below="fail",
        when_not_offered="ignore",
        min_sent=1000,
        deferrable=True,
        poke_interval=600,
        timeout=48 * 3600,
    )

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def tell(ti=None) -> str:
        """Stands for your mail, Slack or ticket."""
        run = ti.xcom_pull(task_ids="sync", key="statistics") or {}
        rates = ti.xcom_pull(task_ids="match_rate") or {}
        lines = [f"{run.get('audience')}: {run.get('added')} added, {run.get('removed')} removed ({run.get('state')})"]
        for name, reading in rates.items():
            lines.append(f"{name}: {reading['rate']['low']:.0%} to {reading['rate']['high']:.0%} matched")
        text = "\n".join(lines)
        print(text)
        return text

    build >> sync >> verdict >> match_rate >> tell()
