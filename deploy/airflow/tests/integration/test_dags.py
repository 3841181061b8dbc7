"""The example DAGs, run to their end in this process against the real daemon."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS
from airflow_services import xcom, xcoms

from airflow_provider_reveil.errors import ReveilApiError
from airflow_provider_reveil.hooks.reveil import ReveilHook

DAY = datetime(2026, 1, 15, tzinfo=timezone.utc)


def run_dag(dag_id, folder):
    """Runs the DAG's tasks one after the other, as `airflow dags test` does."""
    if AIRFLOW_V_3_0_PLUS:
        from airflow.dag_processing.dagbag import DagBag
    else:
        from airflow.models.dagbag import DagBag

    bag = DagBag(dag_folder=str(folder / "dags" / f"{dag_id}.py"))
    assert bag.import_errors == {}
    dag = bag.dags[dag_id]
    when = {"logical_date": DAY} if AIRFLOW_V_3_0_PLUS else {"execution_date": DAY}
    return dag.test(**when)


def test_one_audience(daemon, airflow_home):
    dag_run = run_dag("reveil_minimal", airflow_home)
    assert dag_run.state == "success"
    run = daemon.run(xcom("reveil_minimal", dag_run.run_id, "sync"))
    assert (run["state"], run["requested_by"]) == ("done", "airflow")
    statistics = xcom("reveil_minimal", dag_run.run_id, "sync", "statistics")
    assert set(statistics["destinations"]) == {"meta", "google"}
    assert statistics["kept"] > 0


def test_mapped_over_the_audiences(daemon, airflow_home):
    dag_run = run_dag("reveil_mapped", airflow_home)
    assert dag_run.state == "success"
    runs = [daemon.run(run_id) for run_id in xcoms("reveil_mapped", dag_run.run_id, "sync")]
    assert {run["audience"] for run in runs} == {"dormant", "silent"}
    assert xcom("reveil_mapped", dag_run.run_id, "total")["rejected"] == 0


def test_the_projection_decides(daemon, airflow_home):
    dag_run = run_dag("reveil_roi_gate", airflow_home)
    assert dag_run.state == "success"
    projection = xcom("reveil_roi_gate", dag_run.run_id, "worth_it")
    started = xcom("reveil_roi_gate", dag_run.run_id, "sync")
    # A gate that closes skips and gives nothing; the figures are the daemon's to say.
    assert (projection is None) == (started is None)


def test_the_connection_button(daemon, airflow_home):
    for name, role in (("airflow", "operator"), ("privacy", "admin")):
        hook = ReveilHook("reveil_default" if name == "airflow" else "reveil_privacy")
        well, text = hook.test_connection()
        assert well, text
        assert f"{name!r} ({role})" in text


def test_an_erasure_takes_an_administrator(daemon, airflow_home):
    person = [{"kind": "customer_id", "value": "nobody-7"}]
    assert ReveilHook("reveil_privacy").forget(person, "ticket 7", "key-7")["reference"] == "ticket 7"
    with pytest.raises(ReveilApiError, match="403 forbidden"):
        ReveilHook().forget(person, "ticket 7", "key-7")
