"""Both sensors, in the worker and deferred."""

from __future__ import annotations

import asyncio

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowSkipException, TaskDeferred

from airflow_provider_reveil.errors import ReveilCheckFailed, ReveilRunFailed, ReveilTimeout
from airflow_provider_reveil.sensors.match_rate import ReveilMatchRateSensor
from airflow_provider_reveil.sensors.run import ReveilRunSensor

DAY = "2026-01-02T00:00:00Z"


def fire(trigger):
    async def events():
        return [event.payload async for event in trigger.run()]

    [payload] = asyncio.run(events())
    return payload


def run_sensor(**options):
    fields = {"task_id": "wait", "run_id": "run-1", "poke_interval": 0.05, "timeout": 5, "deferrable": False}
    return ReveilRunSensor(**{**fields, **options})


def rate_sensor(**options):
    fields = {"task_id": "rate", "audience": "dormant", "min_rate": 0.5, "poke_interval": 0.05, "timeout": 5}
    return ReveilMatchRateSensor(**{"deferrable": False, **fields, **options})


# Runs


def test_it_waits_for_the_verdict(fake, context):
    fake.add_run("dormant", "pending")
    assert run_sensor().poke(context()) is False
    assert run_sensor(wait_for="sent").poke(context()) is True
    fake.set_state("run-1", "done")
    assert run_sensor().poke(context()) is True


def test_it_fails_with_the_run(fake, context):
    fake.add_run("dormant", "failed", error={"code": "x", "message": "the warehouse is away"})
    with pytest.raises(ReveilRunFailed, match="the warehouse is away"):
        run_sensor().poke(context())


def test_it_waits_through_a_restart(fake, context, connection):
    connection(extra={"retries": 0})
    fake.add_run("dormant", "done")
    fake.fail("GET .*", status=503)
    assert run_sensor().poke(context()) is False
    assert run_sensor().poke(context()) is True


def test_it_looks_once_before_it_defers(fake, context):
    fake.add_run("dormant", "done")
    assert run_sensor(deferrable=True).execute(context()) is None
    fake.runs["run-1"]["state"] = "running"
    with pytest.raises(TaskDeferred) as raised:
        run_sensor(deferrable=True).execute(context())
    assert raised.value.trigger.cancel_run is False
    fake.pending_steps["run-1"] = ["done"]
    event = fire(raised.value.trigger)
    assert getattr(run_sensor(), raised.value.method_name)(context(), event) is None


@pytest.mark.parametrize("status", ["timed_out", "error"])
def test_soft_fail_skips_after_a_deferral_too(fake, context, status):
    event = {"status": status, "message": "too late", "run_id": "run-1"}
    with pytest.raises(AirflowException, match="too late"):
        run_sensor().execute_complete(context(), event)
    with pytest.raises(AirflowSkipException):
        run_sensor(soft_fail=True).execute_complete(context(), event)


UNDECIDED = "the platform has not decided on 171 members of an earlier run; nothing new is sent until it has"
WAITS = [{"destination": "google", "state": "pending", "warnings": [UNDECIDED]}]


def test_a_run_that_goes_back_to_the_queue_is_no_failure(fake, context, log):
    fake.add_run("dormant", "queued", destinations=WAITS)
    assert run_sensor(wait_for="sent").poke(context()) is False
    assert f"Waiting for google: {UNDECIDED}" in log.text()
    with pytest.raises(TaskDeferred) as raised:
        run_sensor(deferrable=True, timeout=0.3).execute(context())
    event = fire(raised.value.trigger)
    assert event["status"] == "timed_out" and UNDECIDED in event["message"]
    assert fake.runs["run-1"]["state"] == "queued"


def test_rejects_are_told_by_reason(fake, context, log):
    fake.add_run("dormant", "done")
    assert run_sensor().poke(context()) is True
    assert "google rejected 1 members: invalid 1" in log.text()


# Match rates


def observe(fake, low=0.59, high=0.64, **fields):
    for name in ("meta", "google"):
        fake.observe(name, DAY, "bounds", low=low, high=high, **fields)


def test_it_gives_the_readings(fake, context, log):
    sensor = rate_sensor()
    assert sensor.poke(context()).is_done is False
    observe(fake)
    done = sensor.poke(context())
    assert done.is_done and done.xcom_value["meta"]["rate"] == {"low": 0.59, "high": 0.64}
    assert "meta: 59–64 % (bounds, of 1000 sent), 50 % wanted of the low bound: enough" in log.text()


def test_below_is_a_setting(fake, context, log):
    observe(fake, 0.1, 0.2)
    with pytest.raises(ReveilCheckFailed, match="meta: 10–20 %"):
        rate_sensor().poke(context())
    with pytest.raises(AirflowSkipException):
        rate_sensor(when_below="skip").poke(context())
    assert rate_sensor(when_below="wait").poke(context()).is_done is False
    assert rate_sensor(when_below="warn").poke(context()).is_done is True


def test_a_platform_that_tells_nothing_is_named(fake, context):
    observe(fake)
    fake.observations[0].update(kind="not_offered", low=None, high=None)
    with pytest.raises(ReveilCheckFailed, match="meta: the platform tells no match rate") as raised:
        rate_sensor().poke(context())
    assert "hint: name the destinations" in str(raised.value)
    assert rate_sensor(when_not_offered="ignore").poke(context()).is_done
    assert rate_sensor(destinations="google").poke(context()).is_done


def test_only_newer_readings_are_asked_for(fake, context):
    observe(fake)
    assert rate_sensor(newer_than="2026-01-01 00:00:00+00:00").poke(context()).is_done
    assert not rate_sensor(newer_than=DAY).poke(context()).is_done
    assert fake.requests("GET /v1/observations")[-1].query["since"] == DAY


def test_of_a_run_it_asks_where_that_run_was_sent(fake, context):
    """A retry's run concerns the destinations that were left, and readings of nights before do not count."""
    fake.observe("meta", DAY, "bounds", low=0.1, high=0.2, run_id="run-0")
    fake.observe("google", DAY, "bounds", low=0.6, high=0.7, run_id="run-0")
    fake.add_run("dormant", "running", destinations=[{"destination": "google", "state": "running"}])
    of_run = {"run_id": "run-1"}
    assert not rate_sensor(**of_run).poke(context()).is_done
    fake.set_state("run-1", "done")
    assert not rate_sensor(**of_run).poke(context()).is_done
    fake.observe("google", DAY, "not_offered", sent=20)
    fake.observe("google", DAY, "bounds", low=0.53, high=0.55, sent=573, primary=False)
    for deferrable in (False, True):
        sensor = rate_sensor(deferrable=deferrable, **of_run)
        value = sensor.execute(context()) if deferrable else sensor.poke(context()).xcom_value
        assert list(value) == ["google"]
        assert value["google"]["rate"] == {"low": 0.53, "high": 0.55}
        assert value["google"]["primary"] is False


def test_deferred_it_waits_for_its_run(fake, context):
    fake.add_run("dormant", "running")
    with pytest.raises(TaskDeferred) as raised:
        rate_sensor(deferrable=True, run_id="run-1").execute(context())
    fake.pending_steps["run-1"] = ["queued", "running", "done"]
    observe(fake)
    assert fire(raised.value.trigger)["status"] == "passed"
    assert fake.runs["run-1"]["state"] == "done"


def test_a_rate_beyond_one_is_refused(fake, context):
    with pytest.raises(ValueError, match="min_rate is a share"):
        rate_sensor(min_rate=50).poke(context())
    with pytest.raises(ValueError, match="min_rate is missing"):
        rate_sensor(min_rate="").poke(context())


def test_it_defers_and_takes_over_again(fake, context):
    with pytest.raises(TaskDeferred) as raised:
        rate_sensor(deferrable=True).execute(context())
    observe(fake)
    event = fire(raised.value.trigger)
    assert rate_sensor().execute_complete(context(), event)["google"]["kind"] == "bounds"
    assert rate_sensor(deferrable=True).execute(context())["google"]["kind"] == "bounds"


def test_deferred_it_fails_below_and_out_of_time(fake, context):
    with pytest.raises(TaskDeferred) as raised:
        rate_sensor(deferrable=True, timeout=0.2).execute(context())
    event = fire(raised.value.trigger)
    assert event["status"] == "timed_out" and "meta: no reading yet" in event["message"]
    with pytest.raises(ReveilTimeout):
        rate_sensor().execute_complete(context(), event)
    with pytest.raises(AirflowSkipException):
        rate_sensor(soft_fail=True).execute_complete(context(), event)
    observe(fake, 0.1, 0.2)
    with pytest.raises(ReveilCheckFailed):
        rate_sensor().execute_complete(context(), fire(raised.value.trigger))


def test_deferred_it_waits_through_a_restart_and_ends_on_a_refusal(fake, context, connection):
    connection(extra={"retries": 0})
    with pytest.raises(TaskDeferred) as raised:
        rate_sensor(deferrable=True).execute(context())
    observe(fake)
    fake.fail("GET .*", status=503, times=3)
    assert fire(raised.value.trigger)["status"] == "passed"
    connection(password="rvl_wrong")
    event = fire(raised.value.trigger)
    assert event["status"] == "error" and "401" in event["message"]
    with pytest.raises(AirflowException, match="401"):
        rate_sensor().execute_complete(context(), event)


@pytest.mark.parametrize("wrong", [{"bound": "middle"}, {"when_below": "cry"}, {"when_not_offered": "warn"}])
def test_a_wrong_setting_breaks_the_dag(wrong):
    with pytest.raises(ValueError, match="must be"):
        rate_sensor(**wrong)
