"""The example DAGs, run to their end in this process against the real daemon."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS
from airflow_services import xcom, xcoms

from airflow_provider_reveil.errors import ReveilApiError, ReveilPermanentError
from airflow_provider_reveil.hooks.reveil import ReveilHook
from airflow_provider_reveil.projections import Projection

DAY = datetime(2026, 1, 15, tzinfo=timezone.utc)


def run_dag(dag_id, folder, day=DAY):
    """Runs the DAG's tasks one after the other, as `airflow dags test` does."""
    if AIRFLOW_V_3_0_PLUS:
        from airflow.dag_processing.dagbag import DagBag
    else:
        from airflow.models.dagbag import DagBag

    bag = DagBag(dag_folder=str(folder / "dags" / f"{dag_id}.py"))
    assert bag.import_errors == {}
    dag = bag.dags[dag_id]
    when = {"logical_date": day} if AIRFLOW_V_3_0_PLUS else {"execution_date": day}
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
    figures = xcom("reveil_roi_gate", dag_run.run_id, "worth_it", "figures")
    assert set(figures["platforms"]) == {"meta", "google"}


@pytest.mark.parametrize(("audience", "platforms"), [("silent", ["meta"]), ("dormant", ["google", "meta"])])
def test_a_projection_of_one_platform_and_of_two(daemon, airflow_home, audience, platforms):
    answer = ReveilHook().project_roi({"audience": audience, "budget": "9000", "draws": 2000})
    assert ("platforms" in answer) == (len(platforms) == 2)
    projection = Projection(answer)
    assert sorted(projection.platforms) == platforms
    for place in ("cost", "persons_reached.p50", "incremental_buyers.p50", "p_incremental_roi_positive"):
        [value] = projection.find(place).values()
        assert value > 0
        assert projection.figures()["together"][place.split(".")[0]]
    assert projection.find("incremental_roi.p50") and projection.find("meta.point.roi")
    assert len(projection.find("each.point.cpa")) == len(platforms)
    assert all(warning.split(": ")[0].startswith(("meta", "google")) for warning in projection.warnings())
    if len(platforms) == 2:
        for place in ("p_roi_positive", "point.roi", "point.cpa"):
            with pytest.raises(ReveilPermanentError, match=f"say 'meta.{place}' or 'google.{place}'"):
                projection.find(place)


def test_after_dbt_with_many_changes_and_with_few(daemon, airflow_home, monkeypatch, tmp_path):
    """The example as it is, but for dbt, in whose place a script notes how it was called."""
    dbt, called = tmp_path / "dbt", tmp_path / "called"
    dbt.write_text(f'#!/bin/sh\necho "$@" >> {called}\nexit $DBT_FAILS\n')
    dbt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DBT_PROJECT", str(tmp_path))

    monkeypatch.setenv("DBT_FAILS", "1")
    known = len(daemon.runs("dormant"))
    dag_run = run_dag("reveil_after_dbt", airflow_home, DAY - timedelta(days=2))
    assert dag_run.state == "failed", "what told of the failure does not make the run a success"
    assert len(daemon.runs("dormant")) == known
    assert "failed" in xcom("reveil_after_dbt", dag_run.run_id, "alarm")

    monkeypatch.setenv("DBT_FAILS", "0")
    told = []
    for day in (DAY, DAY + timedelta(days=2)):
        dag_run = run_dag("reveil_after_dbt", airflow_home, day)
        assert dag_run.state == "success"
        run_id = xcom("reveil_after_dbt", dag_run.run_id, "sync")
        readings = xcom("reveil_after_dbt", dag_run.run_id, "match_rate")
        assert {reading["run_id"] for reading in readings.values()} == {run_id}
        added = xcom("reveil_after_dbt", dag_run.run_id, "sync", "statistics")["destinations"]["google"]["added"]
        told.append((added, readings["google"]["kind"], readings["google"]["sent"]))
        assert "matched" in xcom("reveil_after_dbt", dag_run.run_id, "tell")
        assert xcom("reveil_after_dbt", dag_run.run_id, "alarm") is None
    assert "--select +customers +orders" in called.read_text()
    # Of so few Google tells no rate: the whole list's counts.
    [_, (added, kind, sent)] = told
    assert 0 < added < 100 and kind == "bounds" and sent > 500


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
