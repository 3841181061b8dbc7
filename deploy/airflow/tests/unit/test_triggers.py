"""Waiting in the triggerer: serialisation, deadlines, and the end of a deferred task."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta, timezone

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_reveil import killed
from airflow_provider_reveil.deadlines import Deadlines
from airflow_provider_reveil.errors import ReveilPermanentError, ReveilRunFailed, ReveilTimeout
from airflow_provider_reveil.operators.sync_audience import ReveilSyncAudienceOperator
from airflow_provider_reveil.triggers import run as run_trigger
from airflow_provider_reveil.triggers.match_rate import ReveilMatchRateTrigger
from airflow_provider_reveil.triggers.run import ReveilRunTrigger

HOUR = 3600


def trigger(run_id="run-1", **changes):
    fields = {"wait_for": "sent", "poll_interval": 0.05, "end_time": time.time() + HOUR}
    return ReveilRunTrigger("reveil_default", run_id, **{**fields, **changes})


def fire(one):
    async def events():
        return [event.payload async for event in one.run()]

    [payload] = asyncio.run(events())
    return payload


def through_airflow(one):
    """As Airflow stores it and makes it anew."""
    import json

    path, fields = one.serialize()
    module, _, name = path.rpartition(".")
    return getattr(__import__(module, fromlist=[name]), name)(**json.loads(json.dumps(fields)))


@pytest.mark.parametrize(
    "one",
    [
        trigger(execution_deadline=5.0, cancel_run=False, after_seq=7),
        ReveilMatchRateTrigger("c", {"audience": "dormant", "min_rate": 0.5}, 60, 1.0, 2.0),
    ],
)
def test_triggers_survive_serialisation(one):
    again = through_airflow(one)
    assert type(again) is type(one)
    assert again.serialize() == one.serialize()


def test_it_fires_when_the_run_got_there(fake, log):
    run = fake.add_run("dormant", "queued")
    fake.pending_steps[run["id"]] = ["running", "running", "pending"]
    assert fire(trigger()) == {"status": "reached", "run_id": "run-1"}
    assert "state running" in log.text()


def test_a_restart_of_the_daemon_is_waited_through(fake, connection):
    connection(extra={"retries": 0})
    run = fake.add_run("dormant", "running")
    fake.pending_steps[run["id"]] = ["done"]
    fake.fail("GET /v1/runs/run-1", status=503, times=3)
    fake.fail("GET /v1/runs/run-1", reset=True, times=2)
    assert fire(trigger())["status"] == "reached"


def test_a_refusal_ends_the_wait(fake):
    event = fire(trigger("no-such-run"))
    assert event["status"] == "error" and "404 not_found" in event["message"]


@pytest.mark.parametrize(
    ("deadline", "says"),
    [({"end_time": 0}, "timeout was over"), ({"execution_deadline": 0}, "execution_timeout was over")],
)
def test_time_out_cancels_the_run(fake, deadline, says):
    fake.add_run("dormant", "running")
    event = fire(trigger(**deadline))
    assert event["status"] == "timed_out" and says in event["message"]
    assert fake.runs["run-1"]["state"] == "cancelled"


def test_a_sensor_s_time_out_leaves_the_run_alone(fake):
    fake.add_run("dormant", "running")
    assert fire(trigger(end_time=0, cancel_run=False))["status"] == "timed_out"
    assert fake.runs["run-1"]["state"] == "running"


def test_on_kill_cancels(fake):
    fake.add_run("dormant", "running")
    asyncio.run(trigger().on_kill())
    assert fake.runs["run-1"]["state"] == "cancelled"


def cancelled_while_waiting(one):
    async def scene():
        async def consume():
            async for _ in one.run():
                pass

        task = asyncio.create_task(consume())
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scene())


@pytest.mark.parametrize(("ended", "state"), [(True, "cancelled"), (False, "running")])
def test_where_triggers_are_not_told_they_ask(fake, monkeypatch, ended, state):
    async def task_was_ended(_trigger):
        return ended

    monkeypatch.setattr(run_trigger, "TRIGGERS_ARE_TOLD", False)
    monkeypatch.setattr(run_trigger, "task_was_ended", task_was_ended)
    fake.add_run("dormant", "running")
    cancelled_while_waiting(trigger())
    assert fake.runs["run-1"]["state"] == state


def test_where_triggers_are_told_a_stop_of_the_triggerer_leaves_the_run_alone(fake, monkeypatch):
    monkeypatch.setattr(run_trigger, "TRIGGERS_ARE_TOLD", True)
    fake.add_run("dormant", "running")
    cancelled_while_waiting(trigger())
    assert fake.runs["run-1"]["state"] == "running"


def test_a_trigger_without_a_task_was_not_ended():
    assert asyncio.run(killed.task_was_ended(trigger())) is False


# The operator's side of it


def deferred(**options):
    fields = {"task_id": "sync", "audience": "dormant", "as_of": None, "poll_interval": 0.05, "deferrable": True}
    return ReveilSyncAudienceOperator(**{**fields, **options})


def test_it_defers_and_takes_over_again(fake, context):
    fake.script("dormant", "running", "running", "pending")
    where = context()
    with pytest.raises(TaskDeferred) as raised:
        deferred().execute(where)
    assert where["ti"].xcoms["run_url"].endswith("/runs/run-1")
    event = fire(through_airflow(raised.value.trigger))
    operator = deferred()  # Another worker's.
    assert getattr(operator, raised.value.method_name)(where, event) == "run-1"
    assert where["ti"].xcoms["statistics"]["state"] == "pending"
    assert where["outlet_events"][operator.outlets[0]].extra["run_id"] == "run-1"


def test_what_is_done_at_once_is_not_deferred(fake, context):
    where = context()
    with pytest.raises(TaskDeferred):
        deferred().execute(where)
    fake.set_state("run-1", "done")
    assert deferred().execute(where) == "run-1"


def test_the_deferral_carries_both_deadlines_and_a_backstop(fake, context):
    where = context()
    with pytest.raises(TaskDeferred) as raised:
        deferred(timeout=HOUR, execution_timeout=timedelta(seconds=100)).execute(where)
    _, fields = raised.value.trigger.serialize()
    assert fields["end_time"] == pytest.approx(time.time() + HOUR, abs=5)
    assert fields["execution_deadline"] == pytest.approx(time.time() + 90, abs=5)
    assert raised.value.timeout.total_seconds() == pytest.approx(150, abs=5)


@pytest.mark.parametrize(
    ("event", "state", "raised"),
    [
        ({"status": "timed_out", "message": "timeout was over"}, "cancelled", ReveilTimeout),
        ({"status": "error", "message": "401"}, "running", ReveilPermanentError),
        ({"status": "reached"}, "failed", ReveilRunFailed),
    ],
)
def test_execute_complete_raises(fake, context, event, state, raised):
    fake.add_run("dormant", state)
    with pytest.raises(raised):
        deferred().execute_complete(context(), {"run_id": "run-1", **event})


def test_an_attached_run_is_not_the_trigger_s_to_cancel(fake, context):
    fake.add_run("dormant", "running")
    with pytest.raises(TaskDeferred) as raised:
        deferred(reuse_existing_run=True).execute(context())
    assert raised.value.trigger.cancel_run is False


def test_deadlines_count_from_the_task_s_start():
    started = datetime.now(timezone.utc) - timedelta(seconds=60)
    deadlines = Deadlines.of(HOUR, timedelta(seconds=1000), started)
    assert deadlines.execution_deadline == pytest.approx(time.time() + 1000 - 60 - 30, abs=2)
    assert deadlines.first == deadlines.execution_deadline
    assert Deadlines.of(HOUR, None, started).first == pytest.approx(time.time() + HOUR, abs=2)
    assert deadlines.passed() is None
    assert deadlines.wait_secs(15) == 15
