"""A real scheduler, triggerer and workers against the real daemon."""

from __future__ import annotations

import json
import os
import signal
from datetime import datetime, timezone

import pytest
from airflow_services import (
    AirflowServices,
    mark_failed,
    task,
    trigger,
    wait_for_state,
    wait_until,
    wake,
    xcom,
)

DAY = datetime(2026, 1, 15, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def services(airflow_home):
    running = AirflowServices(airflow_home)
    running.start()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def quick_platforms(daemon):
    yield
    daemon.unstall()


def latest_run(daemon, known):
    fresh = [run for run in daemon.runs("dormant") if run["id"] not in known and run["kind"] in ("sync", "full")]
    return fresh[0] if fresh else None


def known_runs(daemon):
    return {run["id"] for run in daemon.runs()}


def test_deferred_to_the_end_and_a_dag_starts_on_the_audience(daemon, services):
    wake("reveil_on_audience")
    run_id = trigger("check_deferred", DAY)
    wait_for_state("check_deferred", run_id, "rate", "success", secs=120)
    reveil_run = xcom("check_deferred", run_id, "sync")
    assert daemon.run(reveil_run)["state"] == "done"
    assert xcom("check_deferred", run_id, "sync", "statistics")["run_id"] == reveil_run
    assert xcom("check_deferred", run_id, "sync", "run_url").endswith(f"/runs/{reveil_run}")
    assert 0 < xcom("check_deferred", run_id, "rate")["meta"]["rate"]["low"] <= 1

    # The asset event started the example that waits for it, and carries what the run did.
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    def started():
        with create_session() as session:
            row = session.query(DagRun.run_id).filter_by(dag_id="reveil_on_audience").first()
            return row and row[0]

    follower = wait_until(started, "reveil_on_audience started")
    wait_for_state("reveil_on_audience", follower, "start_campaign", "success")
    assert xcom("reveil_on_audience", follower, "start_campaign")["run_id"] == reveil_run


def test_lineage_of_the_deferred_sync(daemon, airflow_home):
    """Written by Airflow's OpenLineage listener while the test before ran."""
    events = [json.loads(line) for line in (airflow_home / "lineage.json").read_text().splitlines()]
    [done] = [one for one in events if one["eventType"] == "COMPLETE" and one["job"]["name"] == "check_deferred.sync"]
    assert [one["name"] for one in done["inputs"]] == ["segment/dormant"]
    assert {one["name"] for one in done["outputs"]} == {
        "audience/dormant",
        "audience/dormant/destination/meta",
        "audience/dormant/destination/google",
    }
    assert {one["namespace"] for one in done["outputs"]} == {daemon.url.replace("http", "reveil")}
    run = daemon.run(done["run"]["facets"]["externalQuery"]["externalQueryId"])
    assert run["audience"] == "dormant"
    # And the other way round: the run names the task's own run as its parent.
    assert run["origin"].startswith("Airflow check_deferred.sync, run manual__2026-01-15")
    assert f"/check_deferred.sync/{done['run']['runId']}" in run["origin"]


def test_killing_a_task_in_its_worker_cancels_the_run(daemon, services):
    daemon.stall()
    known = known_runs(daemon)
    run_id = trigger("check_worker", DAY.replace(day=16))
    started = wait_until(lambda: latest_run(daemon, known), "a run was asked for")
    wait_until(lambda: xcom("check_worker", run_id, "sync", "run_url"), "the task knows its run")
    mark_failed("check_worker", run_id, "sync")
    wait_until(lambda: daemon.run(started["id"])["state"] == "cancelled", "the run is cancelled", 120)
    assert task("check_worker", run_id, "sync").state == "failed"


def test_killing_a_deferred_task_cancels_the_run(daemon, services):
    daemon.stall()
    known = known_runs(daemon)
    run_id = trigger("check_triggerer", DAY.replace(day=17))
    wait_for_state("check_triggerer", run_id, "sync", "deferred")
    started = latest_run(daemon, known)
    wait_until(lambda: services.is_watched(run_id), "the triggerer watches the run")
    mark_failed("check_triggerer", run_id, "sync")
    wait_until(lambda: daemon.run(started["id"])["state"] == "cancelled", "the run is cancelled", 120)
    assert task("check_triggerer", run_id, "sync").state == "failed"


def waits_for_google(daemon, run_id):
    run = daemon.run(run_id)
    return run["state"] == "queued" and any(one["state"] == "pending" for one in run["destinations"])


@pytest.fixture
def late(daemon):
    """Google takes hours to decide, until the test is over."""
    daemon.decide_late()
    yield
    daemon.unstall()
    daemon.pass_hours()


def test_a_run_that_waits_for_earlier_verdicts_goes_on_and_can_be_killed(daemon, services, late):
    everything = ["shrink", "growth"]
    earlier = daemon.start_run("dormant", as_of="2026-03-15T00:00:00Z", allow=everything)
    wait_until(lambda: daemon.run(earlier)["state"] == "pending", "the earlier run is sent and undecided")
    known = known_runs(daemon)
    run_id = trigger("check_triggerer", DAY.replace(month=4))
    started = wait_until(lambda: latest_run(daemon, known), "a run was asked for")["id"]
    wait_until(lambda: waits_for_google(daemon, started), "the run waits for the verdicts")
    wait_until(lambda: services.is_watched(run_id), "the triggerer watches the run")
    assert task("check_triggerer", run_id, "sync").state == "deferred"
    mark_failed("check_triggerer", run_id, "sync")
    wait_until(lambda: daemon.run(started)["state"] == "cancelled", "the run is cancelled", 120)

    known = known_runs(daemon)
    run_id = trigger("check_triggerer", DAY.replace(month=4, day=16))
    started = wait_until(lambda: latest_run(daemon, known), "a run was asked for")["id"]
    wait_until(lambda: waits_for_google(daemon, started), "the run waits for the verdicts")
    wait_until(lambda: services.let_go_of(run_id), "the task has left its worker")
    daemon.unstall()
    daemon.pass_hours()
    wait_for_state("check_triggerer", run_id, "sync", "success", secs=90)
    assert xcom("check_triggerer", run_id, "sync") == started
    assert daemon.run(started)["state"] in ("done", "pending")
    assert "Waiting for google: the platform has not decided on" in services.task_log("check_triggerer")


def test_too_many_rejects_are_not_tried_again(daemon, services):
    daemon.refuse_rows()
    known = known_runs(daemon)
    run_id = trigger("check_rejects", DAY.replace(day=19))
    instance = wait_for_state("check_rejects", run_id, "sync", "failed")
    assert instance.try_number == 1
    assert len(known_runs(daemon) - known) == 1
    told = xcom("check_rejects", run_id, "sync", "statistics")["destinations"]["google"]["rejected_by_reason"]
    assert sum(told.values()) > 0
    assert "google rejected" in services.task_log("check_rejects")


def test_a_dry_run_that_only_a_template_knows_of_starts_no_dag(daemon, services):
    from airflow.utils.session import create_session

    try:
        from airflow.models.asset import AssetEvent as Event
    except ImportError:
        from airflow.models.dataset import DatasetEvent as Event

    run_id = trigger("check_dry_run", DAY.replace(day=20))
    wait_for_state("check_dry_run", run_id, "sync", "success")
    assert daemon.run(xcom("check_dry_run", run_id, "sync"))["dry_run"] is True
    with create_session() as session:
        sources = {dag_id for (dag_id,) in session.query(Event.source_dag_id)}
    assert "check_dry_run" not in sources and "check_deferred" in sources


def test_a_worker_that_dies_finds_its_run_again(daemon, services):
    daemon.stall()
    known = known_runs(daemon)
    run_id = trigger("check_worker", DAY.replace(day=18))
    started = wait_until(lambda: latest_run(daemon, known), "a run was asked for")
    wait_until(lambda: xcom("check_worker", run_id, "sync", "run_url"), "the task knows its run")
    os.kill(task("check_worker", run_id, "sync").pid, signal.SIGKILL)
    wait_until(lambda: (task("check_worker", run_id, "sync").try_number or 0) > 1, "it is tried again", 90)
    daemon.unstall()
    wait_for_state("check_worker", run_id, "sync", "success", secs=90)
    assert xcom("check_worker", run_id, "sync") == started["id"]
    assert known_runs(daemon) - known == {started["id"]}
