"""The sync operator, waiting in the worker."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_reveil.errors import (
    ReveilApiError,
    ReveilPermanentError,
    ReveilRunCancelled,
    ReveilRunFailed,
    ReveilRunRefused,
    ReveilTimeout,
)
from airflow_provider_reveil.operators.run_request import iso_instant, listed
from airflow_provider_reveil.operators.sync_audience import ReveilFullResyncOperator, ReveilSyncAudienceOperator


def sync(**options):
    fields = {"task_id": "sync", "audience": "dormant", "as_of": None, "poll_interval": 0.05, "deferrable": False}
    return ReveilSyncAudienceOperator(**{**fields, **options})


def test_a_run_is_started_followed_and_told(fake, context, log):
    where = context()
    operator = sync()
    assert operator.execute(where) == "run-1"
    xcoms = where["ti"].xcoms
    assert xcoms["run_url"] == f"{fake.url}/runs/run-1"
    statistics = xcoms["statistics"]
    assert {name: statistics[name] for name in ("state", "added", "removed", "kept", "rejected", "requests")} == {
        "state": "done",
        "added": 20,
        "removed": 4,
        "kept": 176,
        "rejected": 2,
        "requests": 6,
    }
    assert statistics["destinations"]["meta"]["rate"] == {"low": 0.59, "high": 0.64}
    assert where["outlet_events"][operator.outlets[0]].extra["added"] == 20
    assert "state running" in log.text()


def test_only_what_was_set_is_asked(fake, context):
    sync().execute(context())
    sync(
        as_of="2026-01-02 00:00:00+00:00",
        destinations="meta, google",
        allow=["shrink"],
        retry_rejected=True,
        dry_run=True,
        max_removal_ratio="0.2",
        fail_on_reject_ratio=0.05,
    ).execute(context(task_id="b"))
    ReveilFullResyncOperator(task_id="c", audience="dormant", as_of=None, poll_interval=0.05).execute(context())
    assert [seen.body for seen in fake.requests("POST .*/sync")] == [
        {},
        {
            "as_of": "2026-01-02T00:00:00Z",
            "destinations": ["meta", "google"],
            "allow": ["shrink"],
            "retry_rejected": True,
            "dry_run": True,
            "max_removal_ratio": 0.2,
            "fail_on_reject_ratio": 0.05,
        },
        {"full": True},
    ]


def test_instants_and_lists_as_templates_render_them():
    paris = timezone(timedelta(hours=1))
    assert iso_instant("2026-01-02T01:00:00+01:00") == "2026-01-02T00:00:00Z"
    assert iso_instant("2026-01-02T00:00:00Z") == "2026-01-02T00:00:00Z"
    assert iso_instant(datetime(2026, 1, 2, 1, tzinfo=paris)) == "2026-01-02T00:00:00Z"
    assert iso_instant("2026-01-02") == "2026-01-02T00:00:00Z"
    assert iso_instant("") is None
    assert listed("a, b,") == ["a", "b"]
    assert listed("") is None
    assert listed(["a"]) == ["a"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"wait_for": "never"}, "wait_for must be 'sent', 'confirmed' or None"),
        ({"partial_failure": "ignore"}, "partial_failure must be"),
    ],
)
def test_a_wrong_setting_breaks_the_dag_not_the_night(options, says):
    with pytest.raises(ValueError, match=says):
        sync(**options)


def test_a_ratio_beyond_one_is_refused(context):
    with pytest.raises(ValueError, match="max_removal_ratio is a share"):
        sync(max_removal_ratio=20).execute(context())


def test_sent_is_enough_unless_verdicts_are_wanted(fake, context):
    fake.script("dormant", "running", "pending")
    assert sync().execute(context()) == "run-1"
    assert fake.runs["run-1"]["state"] == "pending"
    fake.script("dormant", "running", "pending", "done")
    where = context(task_id="b")
    sync(wait_for="confirmed").execute(where)
    assert where["ti"].xcoms["statistics"]["state"] == "done"


def test_it_need_not_wait_at_all(fake, context):
    operator = sync(wait_for=None)
    assert operator.execute(context()) == "run-1"
    assert operator.outlets == []


# Failure


def test_a_failed_run_fails_the_task_and_says_why(fake, context):
    error = {"code": "warehouse_unreachable", "message": "no answer from the warehouse", "hint": "start it"}
    fake.script("dormant", "running", {"state": "failed", "error": error})
    where = context()
    with pytest.raises(ReveilRunFailed, match=r"no answer from the warehouse \(hint: start it\)"):
        sync().execute(where)
    assert where["ti"].xcoms["statistics"]["state"] == "failed"
    assert not where["outlet_events"]


def test_a_guard_is_not_tried_again(fake, context):
    error = {"code": "guard_shrink", "message": "40 % would be removed", "hint": "allow shrink"}
    fake.script("dormant", {"state": "failed", "error": error})
    with pytest.raises(ReveilRunRefused):
        sync().execute(context())
    assert issubclass(ReveilRunRefused, AirflowFailException)


def test_a_cancelled_run_fails_the_task(fake, context):
    fake.script("dormant", "running", "cancelled")
    with pytest.raises(ReveilRunCancelled):
        sync().execute(context())


@pytest.mark.parametrize(
    ("choice", "raised"), [("fail", ReveilRunFailed), ("skip", AirflowSkipException), ("warn", None)]
)
def test_partial_failure_is_a_setting(fake, context, log, choice, raised):
    error = {"code": "unavailable", "message": "meta is down"}
    done = {"destination": "google", "state": "done"}
    failed = {"destination": "meta", "state": "failed", "error": error}
    fake.script("dormant", {"state": "partial", "destinations": [done, failed]})
    operator = sync(partial_failure=choice)
    if raised:
        with pytest.raises(raised, match=r"not done: meta\n.*meta is down"):
            operator.execute(context())
    else:
        operator.execute(context())
        assert "meta is down" in log.text()


def test_a_refusal_that_needs_a_person_is_not_retried(fake, context, connection):
    with pytest.raises(ReveilPermanentError, match="404 not_found"):
        sync(audience="nobody").execute(context())
    connection(password="rvl_wrong")
    with pytest.raises(AirflowFailException, match="401"):
        sync().execute(context())


def test_a_daemon_that_is_down_is_retried(fake, context):
    fake.fail("POST .*", status=503, times=99)
    with pytest.raises(ReveilApiError):
        sync().execute(context())


def test_a_restart_of_the_daemon_is_waited_through(fake, context, log):
    fake.script("dormant", "running", "running", "done")
    operator = sync()
    original = fake.read
    reads = []

    def read(run_id):
        reads.append(run_id)
        if len(reads) == 2:
            fake.fail("GET /v1/runs/run-1", status=503, times=4)
        return original(run_id)

    fake.read = read
    assert operator.execute(context()) == "run-1"
    assert "Still waiting for run run-1" in log.text()


def test_time_out_cancels_the_run(fake, context):
    fake.script("dormant", *["running"] * 100)
    begin = time.monotonic()
    with pytest.raises(ReveilTimeout, match="timeout was over before run run-1 was sent"):
        sync(timeout=0.5).execute(context())
    assert time.monotonic() - begin < 5
    assert fake.runs["run-1"]["state"] == "cancelled"


def test_a_verdict_that_is_late_cancels_nothing(fake, context):
    fake.script("dormant", "pending")
    with pytest.raises(ReveilTimeout):
        sync(wait_for="confirmed", timeout=0.3).execute(context())
    assert fake.runs["run-1"]["state"] == "pending"


# Killing


def test_killing_the_task_cancels_the_run(fake, context):
    operator = sync()
    operator.execute(context())
    fake.runs["run-1"]["state"] = "running"
    operator.on_kill()
    assert fake.runs["run-1"]["state"] == "cancelled"


def test_killing_before_the_answer_came_cancels_the_run_all_the_same(fake, context):
    fake.script("dormant", *["running"] * 9)
    fake.fail("POST .*/sync", status=401, after_doing=True)
    operator = sync()
    with pytest.raises(ReveilPermanentError):
        operator.execute(context())
    assert fake.runs["run-1"]["state"] == "queued"
    operator.on_kill()
    assert list(fake.runs) == ["run-1"]
    assert fake.runs["run-1"]["state"] == "cancelled"


def test_killing_before_anything_was_asked_asks_nothing(fake):
    sync().on_kill()
    assert fake.seen == []


def test_a_kill_that_cannot_reach_the_daemon_only_warns(fake, context, log):
    operator = sync()
    operator.execute(context())
    fake.fail(".*", reset=True, times=99)
    operator.on_kill()
    assert "Could not cancel the run of audience dormant" in log.text()
