"""The asynchronous client keeps the same rules as the synchronous one."""

from __future__ import annotations

import asyncio
import time

import pytest

from airflow_provider_reveil.errors import ReveilApiError
from airflow_provider_reveil.hooks.reveil_async import ReveilAsyncHook


def ask(question):
    async def session():
        async with ReveilAsyncHook() as hook:
            return await question(hook)

    return asyncio.run(session())


@pytest.mark.parametrize("fault", [{"status": 429, "headers": {"Retry-After": "0"}}, {"status": 503}, {"reset": True}])
def test_a_passing_fault_is_passed_over(fake, fault):
    run = fake.add_run("dormant", "running")
    fake.fail("GET /v1/runs/.*", **fault, times=2)
    assert ask(lambda hook: hook.run(run["id"])).state == "running"


def test_a_slow_answer_is_asked_for_again(fake, connection):
    connection(extra={"timeout_secs": 0.2, "retries": 1})
    run = fake.add_run("dormant", "running")
    fake.fail("GET /v1/runs/.*", slow_secs=0.6)
    assert ask(lambda hook: hook.run(run["id"])).id == run["id"]


def test_a_refusal_is_typed(fake):
    with pytest.raises(ReveilApiError) as raised:
        ask(lambda hook: hook.run("nothing"))
    assert (raised.value.code, raised.value.temporary) == ("not_found", False)


def test_a_daemon_that_is_gone(fake):
    fake.close()
    with pytest.raises(ReveilApiError) as raised:
        ask(lambda hook: hook.run("run-1"))
    assert raised.value.temporary and raised.value.__suppress_context__


def test_every_page_is_read(fake):
    for day in range(1, 6):
        fake.observe("meta", f"2026-01-0{day}T00:00:00Z")
    assert len(ask(lambda hook: hook.observations("dormant"))) == 5


def test_events_end_with_the_run(fake):
    run = fake.add_run("dormant", "running")
    fake.set_state(run["id"], "done")

    async def follow(hook):
        return [event.kind async for event in hook.follow_run(run["id"], 1, 30)]

    begin = time.monotonic()
    assert ask(follow) == ["state"]
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("fault", [{"status": 404}, {"reset": True}])
def test_without_events_the_time_is_slept_through(fake, fault):
    run = fake.add_run("dormant", "running")
    fake.fail("GET .*/events", **fault, times=9)

    async def follow(hook):
        return [event async for event in hook.follow_run(run["id"], 0, 0.3)]

    begin = time.monotonic()
    assert ask(follow) == []
    assert 0.25 <= time.monotonic() - begin < 2


def test_only_a_run_that_still_sends_is_cancelled(fake):
    running, pending = fake.add_run("dormant", "running"), fake.add_run("dormant", "pending")
    assert ask(lambda hook: hook.cancel_unsent(running["id"])) is True
    assert ask(lambda hook: hook.cancel_unsent(pending["id"])) is False
    assert fake.runs[pending["id"]]["state"] == "pending"
