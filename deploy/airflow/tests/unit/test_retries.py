"""A retry finds its run; a clear starts over. The keys behind it."""

from __future__ import annotations

import pytest

from airflow_provider_reveil.errors import ReveilRunFailed
from airflow_provider_reveil.idempotency import first_try
from airflow_provider_reveil.operators.sync_audience import ReveilSyncAudienceOperator


def attempt(context, try_number=1, max_tries=2, map_index=-1, **options):
    fields = {"audience": "dormant", "as_of": None, "poll_interval": 0.02, "retries": 2, "deferrable": False}
    operator = ReveilSyncAudienceOperator(task_id="sync", **{**fields, **options})
    return operator.execute(context(try_number=try_number, max_tries=max_tries, map_index=map_index))


def test_a_retry_attaches_to_the_run_that_is_going_on(fake, context):
    fake.script("dormant", *["running"] * 3, "done")
    with pytest.raises(Exception, match="timeout"):
        attempt(context, timeout=0, wait_for="confirmed", destinations=["meta"])
    run = fake.runs["run-1"]
    run["state"] = "running"  # As if the worker had died instead of cancelling.
    assert attempt(context, try_number=2, wait_for="confirmed", destinations=["meta"]) == "run-1"
    assert len(fake.runs) == 1


def test_a_retry_takes_the_result_of_a_run_that_succeeded(fake, context):
    assert attempt(context) == "run-1"
    assert attempt(context, try_number=2) == "run-1"
    assert len(fake.runs) == 1


def test_a_retry_after_a_failed_run_asks_once_for_the_rest(fake, context):
    done, failed = {"destination": "google", "state": "done"}, {"destination": "meta", "state": "failed"}
    fake.script("dormant", {"state": "partial", "destinations": [done, failed]})
    with pytest.raises(ReveilRunFailed):
        attempt(context)
    assert attempt(context, try_number=2) == "run-2"
    assert attempt(context, try_number=3) == "run-2"
    bodies = [seen.body for seen in fake.requests("POST .*/sync")]
    assert bodies[-1] == {"destinations": ["meta"]}
    assert len(fake.runs) == 2


def test_a_retry_may_ask_for_everything_again(fake, context):
    fake.script("dormant", {"state": "failed", "destinations": [{"destination": "meta", "state": "failed"}]})
    with pytest.raises(ReveilRunFailed):
        attempt(context, retry_from_failure=False)
    assert attempt(context, try_number=2, retry_from_failure=False) == "run-2"
    assert fake.requests("POST .*/sync")[-1].body == {}


def test_a_partial_run_that_counts_is_not_repeated(fake, context):
    fake.script("dormant", {"state": "partial"})
    assert attempt(context, partial_failure="warn") == "run-1"
    assert attempt(context, try_number=2, partial_failure="warn") == "run-1"


def test_a_cancelled_run_is_asked_for_as_a_whole(fake, context):
    fake.script("dormant", "cancelled")
    with pytest.raises(Exception, match="cancelled"):
        attempt(context)
    assert attempt(context, try_number=2) == "run-2"
    assert fake.requests("POST .*/sync")[-1].body == {}


def test_a_cleared_task_does_its_work_again(fake, context):
    assert attempt(context) == "run-1"
    # Airflow raises max_tries when a task is cleared: try 1 is behind, two retries are ahead again.
    assert attempt(context, try_number=2, max_tries=3) == "run-2"
    assert attempt(context, try_number=3, max_tries=3) == "run-2"


def test_an_edited_dag_is_not_held_to_the_old_request(fake, context):
    attempt(context)
    assert attempt(context, try_number=2, destinations=["meta"]) == "run-2"


def test_mapped_tasks_and_other_dag_runs_have_runs_of_their_own(fake, context):
    assert attempt(context, map_index=0) != attempt(context, map_index=1)


@pytest.mark.parametrize(
    ("try_number", "max_tries", "retries", "first"),
    [(1, 0, 0, 1), (1, 2, 2, 1), (3, 2, 2, 1), (2, 3, 2, 2), (2, 1, 0, 2), (5, 6, 2, 5), (1, 5, 0, 1), (2, None, 2, 1)],
)
def test_the_first_try_of_a_round(try_number, max_tries, retries, first):
    instance = type("Instance", (), {"try_number": try_number, "max_tries": max_tries})()
    assert first_try(instance, retries) == first


def test_an_active_run_is_reused_when_told_to_and_not_cancelled(fake, context):
    other = fake.add_run("dormant", "running", requested_by="scheduler")
    fake.add_run("dormant", "running", kind="refresh")
    operator = ReveilSyncAudienceOperator(
        task_id="sync", audience="dormant", as_of=None, poll_interval=0.05, timeout=0.3, reuse_existing_run=True
    )
    with pytest.raises(Exception, match="timeout"):
        operator.execute(context())
    assert operator.run.id == other["id"]
    assert fake.runs[other["id"]]["state"] == "running"
    assert not fake.requests("POST .*")


def test_without_an_active_run_reuse_starts_one(fake, context):
    fake.add_run("dormant", "done")
    assert attempt(context, reuse_existing_run=True) == "run-2"
