"""Starts when the audience was refreshed, whichever DAG did it."""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_reveil.assets.audience import audience_asset

DORMANT = audience_asset("dormant")

with DAG(
    dag_id="reveil_on_audience",
    schedule=[DORMANT],
    start_date=pendulum.datetime(2026, 1, 1, tz="Europe/Paris"),
    catchup=False,
    tags=["reveil"],
):

    @task(inlets=[DORMANT])
    def start_campaign(*, inlet_events) -> dict:
        """The event carries what the run did."""
        facts = dict(inlet_events[DORMANT][-1].extra)
        print(f"Run {facts['run_id']} added {facts['added']} and removed {facts['removed']}")
        return facts

    start_campaign()
