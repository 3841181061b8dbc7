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


def test_a_ratio_beyond_one_is_refused_for_good(context):
    with pytest.raises(ReveilPermanentError, match="max_removal_ratio is a share"):
        sync(max_removal_ratio=20).execute(context())


SWITCHES = {"full": "full", "retry_rejected": "retry_rejected", "dry_run": "plan_only"}


@pytest.mark.parametrize(("option", "field"), SWITCHES.items())
def test_switches_are_templates(fake, context, option, field):
    operator = sync(**{option: "{{ params.wanted }}"})
    assert field in operator.template_fields
    for number, rendered in enumerate(("True", "true ", True)):
        setattr(operator, field, rendered)
        operator.execute(context(task_id=f"on{number}"))
    for number, rendered in enumerate(("False", "false", False)):
        setattr(operator, field, rendered)
        operator.execute(context(task_id=f"off{number}"))
    assert [seen.body for seen in fake.requests("POST .*/sync")] == [{option: True}] * 3 + [{}] * 3


@pytest.mark.parametrize("option", SWITCHES)
@pytest.mark.parametrize("rendered", ["", "None", "yes", "1", "[]"])
def test_a_switch_is_never_guessed(fake, context, option, rendered):
    with pytest.raises(ValueError, match=f"{option} must be true or false"):
        sync(**{option: rendered})
    operator = sync(**{option: "{{ params.wanted }}"})
    setattr(operator, SWITCHES[option], rendered)
    with pytest.raises(ReveilPermanentError, match=f"{option} must be true or false"):
        operator.execute(context())
    assert not fake.seen


def test_no_asset_comes_of_a_dry_run(fake, context):
    assert sync(dry_run=True).outlets == sync(dry_run="true").outlets == []
    operator = sync(dry_run="{{ params.plan_only }}", outlets=["own"])
    assert len(operator.outlets) == 2
    operator.plan_only = "False"
    where = context()
    operator.execute(where)
    assert len(operator.outlets) == 2 and len(where["outlet_events"]) == 1
    operator.plan_only = "True"
    where = context(task_id="b")
    operator.execute(where)
    assert operator.outlets == ["own"] and not where["outlet_events"]


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


# Rejects


def parts(state="done", **counts):
    return [{"destination": "meta", "state": state, "counts": {"add": 10, "remove": 2, "keep": 88, **counts}}]


def test_rejects_are_told_by_reason(fake, context, log):
    fake.script(
        "dormant", {"state": "done", "destinations": parts(rejected={"invalid": 3, "consent": 1}, rejected_unnamed=2)}
    )
    where = context()
    sync().execute(where)
    assert "meta rejected 6 members: consent 1, invalid 3, unnamed 2" in log.text()
    told = where["ti"].xcoms["statistics"]["destinations"]["meta"]
    assert (told["rejected"], told["rejected_by_reason"]) == (6, {"consent": 1, "invalid": 3, "unnamed": 2})


def test_nothing_is_said_of_no_rejects(fake, context, log):
    fake.script("dormant", {"state": "done", "destinations": parts(rejected={}, rejected_unnamed=0)})
    where = context()
    sync().execute(where)
    assert "rejected 0" not in log.text().replace("rejected 0, requests", "")
    assert where["ti"].xcoms["statistics"]["destinations"]["meta"]["rejected_by_reason"] == {}


@pytest.mark.parametrize("choice", ["fail", "warn", "skip"])
@pytest.mark.parametrize("state", ["failed", "partial"])
def test_too_many_rejects_fail_and_no_retry_hides_them(fake, context, choice, state):
    """The daemon does not send them again: a second run would be well."""
    error = {"code": "too_many_rejected", "message": "65 of 105 members were rejected"}
    failed = [{**parts("failed", rejected={"invalid": 65})[0], "error": error}]
    fake.script("dormant", {"state": state, "destinations": failed})
    with pytest.raises(ReveilRunRefused, match="65 of 105"):
        sync(partial_failure=choice, retries=2).execute(context())
    with pytest.raises(ReveilRunRefused, match="65 of 105"):
        sync(partial_failure=choice, retries=2).execute(context(try_number=2))
    assert len(fake.runs) == 1


@pytest.mark.parametrize(
    ("readings", "shown"),
    [
        ([("not_offered", None), ("bounds", 0.53)], "bounds"),
        ([("bucket", 0.41), ("bounds", 0.53)], "bucket"),
        ([("pending", None), ("bounds", 0.53)], "pending"),
        ([("not_offered", None)], "not_offered"),
        ([], None),
    ],
)
def test_the_rate_in_the_statistics_is_one_that_says_something(fake, context, readings, shown):
    told = [{"kind": kind, "low": low, "high": low, "sent": 573, "definition": kind} for kind, low in readings]
    fake.script("dormant", {"state": "done", "destinations": [{**parts()[0], "observations": told}]})
    where = context()
    sync().execute(where)
    statistics = where["ti"].xcoms["statistics"]["destinations"]["meta"]
    assert statistics["rate_kind"] == statistics["rate_definition"] == shown


# Waiting for an earlier upload's verdicts: the run goes back to the queue and goes on by itself


UNDECIDED = "the platform has not decided on 171 members of an earlier run; nothing new is sent until it has"


def waits(state="queued"):
    done = {"destination": "meta", "state": "done"}
    return {
        "state": state,
        "destinations": [done, {"destination": "google", "state": "pending", "warnings": [UNDECIDED]}],
    }


def test_a_run_that_goes_back_to_the_queue_is_waited_for(fake, context, log):
    done = [{"destination": name, "state": "done"} for name in ("meta", "google")]
    fake.script("dormant", "running", waits(), waits("running"), waits(), {"state": "done", "destinations": done})
    assert sync().execute(context()) == "run-1"
    assert len(fake.runs) == 1
    assert f"Waiting for google: {UNDECIDED}" in log.text()
    # Once, as what is logged once: Airflow 2 logs and prints.
    assert log.text().count("Waiting for google") == log.text().count("is done: added")


def test_out_of_time_it_says_what_was_waited_for(fake, context):
    fake.script("dormant", "running", *[waits()] * 100)
    with pytest.raises(ReveilTimeout, match=f"before run run-1 was sent\n.*is queued.*\n  google: {UNDECIDED}"):
        sync(timeout=0.4).execute(context())
    assert fake.runs["run-1"]["state"] == "cancelled"


def test_a_run_that_waits_is_cancelled_with_its_task(fake, context):
    operator = sync(wait_for=None)
    fake.script("dormant", waits())
    operator.execute(context())
    assert fake.read("run-1")[1]["state"] == "queued"
    operator.on_kill()
    assert fake.runs["run-1"]["state"] == "cancelled"


def test_a_retry_waits_on_for_the_run_that_waits(fake, context):
    fake.script("dormant", "running", *[waits()] * 4, "done")
    assert sync(wait_for=None, retries=2).execute(context()) == "run-1"
    assert sync(retries=2).execute(context(try_number=2)) == "run-1"
    assert len(fake.runs) == 1


def test_the_verdict_that_is_open_is_named(fake, context):
    fake.script("dormant", {"state": "pending", "destinations": [{"destination": "google", "state": "pending"}]})
    with pytest.raises(ReveilTimeout, match="google: the platform has not given its verdict on what was sent"):
        sync(wait_for="confirmed", timeout=0.3).execute(context())


def test_an_upload_that_failed_after_it_was_taken_is_told(fake, context):
    error = {"code": "failed", "message": "the platform took uploads and then applied none of 50 members"}
    part = {"destination": "google", "state": "partial", "error": error}
    fake.script("dormant", "running", "pending", {"state": "partial", "destinations": [part]})
    with pytest.raises(ReveilRunFailed, match=r"not done: google\n.*applied none of 50 members"):
        sync(wait_for="confirmed").execute(context())


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
