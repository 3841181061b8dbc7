"""dbt builds the tables, Réveil refreshes the audience, the match rate is checked, and people are told.

Set DBT_PROJECT to your project's folder, with its profiles.yml in it or where dbt looks for it.
"""

from __future__ import annotations

import os
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

DBT_PROJECT = os.environ.get("DBT_PROJECT", "/opt/shop")

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
        # Builds and tests the two tables that Réveil reads; a test that fails keeps the audience as it is.
        bash_command="dbt build --select +customers +orders",
        # Some adapters look for files from where dbt was started.
        cwd=DBT_PROJECT,
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
        timeout=3 * 24 * 3600,
    )

    match_rate = ReveilMatchRateSensor(
        task_id="match_rate",
        audience="dormant",
        # The run just waited for: a reading of the night before must not pass.
        run_id="{{ ti.xcom_pull('sync') }}",
        min_rate=0.4,
        # Nightly changes are few, and platforms then tell wide intervals: alarm when the rate is below for certain.
        bound="high",
        when_below="fail",
        when_not_offered="ignore",
        # What a platform says of fewer persons is chance; then the whole list's rate counts.
        min_sent=500,
        deferrable=True,
        poke_interval=600,
        timeout=48 * 3600,
    )

    @task
    def tell(ti=None) -> str:
        """Stands for your mail, Slack or ticket."""
        run = ti.xcom_pull(task_ids="sync", key="statistics") or {}
        rates = ti.xcom_pull(task_ids="match_rate") or {}
        lines = [f"{run.get('audience')}: {run.get('added')} added, {run.get('removed')} removed ({run.get('state')})"]
        for name, reading in rates.items():
            lines.append(f"{name}: {reading['rate']['low']:.0%} to {reading['rate']['high']:.0%} matched")
        for name, one in (run.get("destinations") or {}).items():
            for reason, count in one["rejected_by_reason"].items():
                lines.append(f"{name}: {count} rejected ({reason})")
        text = "\n".join(lines)
        print(text)
        return text

    @task(trigger_rule=TriggerRule.ONE_FAILED)
    def alarm(ti=None) -> str:
        """A task of its own: a last task that runs whatever happened would make the whole run a success."""
        text = f"{ti.dag_id} {ti.run_id} failed. Réveil's run: {ti.xcom_pull('sync', key='run_url') or 'none'}"
        print(text)
        return text

    build >> sync >> verdict >> match_rate >> tell()
    [build, sync, verdict, match_rate] >> alarm()
