"""The decision about match rates: intervals, bounds, silence."""

from __future__ import annotations

import pytest

from airflow_provider_reveil.match_rates import (
    BELOW,
    NOT_OFFERED,
    PASSED,
    WAITING,
    RateRule,
    destinations_of,
    judge,
)
from airflow_provider_reveil.runs import Run


def rule(**changes):
    return RateRule(**{"audience": "dormant", "min_rate": 0.55, **changes})


def reading(low=None, high=None, destination="google", kind="bucket", as_of="2026-01-02T00:00:00Z", **changes):
    fields = {"destination": destination, "kind": kind, "as_of": as_of, "low": low, "high": high, "sent": 1000}
    return {
        **fields,
        "primary": True,
        "definition": "as the platform counts",
        "matched": None,
        "run_id": "run-1",
        **changes,
    }


@pytest.mark.parametrize(
    ("low", "high", "bound", "status"),
    [
        (0.55, 0.60, "low", PASSED),
        (0.51, 0.61, "low", BELOW),
        (0.51, 0.61, "high", PASSED),
        (0.31, 0.40, "high", BELOW),
        (0.55, 0.55, "low", PASSED),
    ],
)
def test_the_bound_that_was_chosen_decides(low, high, bound, status):
    assert judge(rule(bound=bound), ["google"], [reading(low, high)]).status == status


def test_an_exact_count_is_a_rate_too():
    assert judge(rule(), ["google"], [reading(kind="exact", matched=550)]).status == PASSED
    assert judge(rule(), ["google"], [reading(kind="exact", matched=549)]).status == BELOW


def test_an_interval_around_the_limit_is_said_to_be_one():
    verdict = judge(rule(), ["google"], [reading(0.51, 0.61)])
    assert verdict.lines == [
        "google: 51–61 % (bucket, of 1000 sent), 55 % wanted of the low bound: below"
        " (the platform's figure alone cannot tell: the other bound says otherwise)"
    ]
    assert "alone cannot tell" in judge(rule(bound="high"), ["google"], [reading(0.51, 0.61)]).text()
    assert "alone cannot tell" not in judge(rule(), ["google"], [reading(0.31, 0.40)]).text()


def test_silence_is_waited_for():
    assert judge(rule(), ["google"], []).status == WAITING
    assert judge(rule(), ["google"], [reading(kind="pending")]).status == WAITING
    old = reading(0.6, 0.7, as_of="2026-01-01T00:00:00Z")
    assert judge(rule(newer_than="2026-01-01T00:00:00Z"), ["google"], [old]).status == WAITING
    assert judge(rule(run_id="run-2"), ["google"], [old]).status == WAITING
    assert judge(rule(min_sent=1001), ["google"], [old]).status == WAITING


def test_the_newest_reading_that_says_something_counts():
    readings = [
        reading(0.3, 0.4, as_of="2026-01-02T00:00:00Z"),
        reading(0.6, 0.7, as_of="2026-01-03T00:00:00.500000Z"),
        reading(kind="pending", as_of="2026-01-04T00:00:00Z"),
    ]
    verdict = judge(rule(), ["google"], readings)
    assert verdict.status == PASSED
    assert verdict.readings["google"]["rate"] == {"low": 0.6, "high": 0.7}


def test_below_does_not_wait_for_the_others():
    assert judge(rule(), ["google", "meta"], [reading(0.3, 0.4)]).status == BELOW
    assert judge(rule(), ["google", "meta"], [reading(0.6, 0.7)]).status == WAITING
    assert judge(rule(when_below="wait"), ["google"], [reading(0.3, 0.4)]).status == WAITING


@pytest.mark.parametrize("silent", [reading(kind="not_offered"), reading(kind="count", matched=900)])
def test_a_platform_that_tells_no_rate(silent):
    readings = [silent, reading(0.6, 0.7, destination="meta")]
    assert judge(rule(), ["google", "meta"], readings).status == NOT_OFFERED
    assert judge(rule(when_not_offered="ignore"), ["google", "meta"], readings).status == PASSED
    alone = judge(rule(when_not_offered="ignore"), ["google"], readings)
    assert alone.status == NOT_OFFERED and "no destination is left" in alone.text()


def test_an_audience_without_destinations_is_no_success():
    assert judge(rule(), [], []).status == NOT_OFFERED


def test_a_rule_travels():
    import json

    one = rule(destinations=("a", "b"), newer_than="2026-01-01T00:00:00Z", min_sent=5)
    assert RateRule.from_dict(json.loads(json.dumps(one.as_dict()))) == rule(
        destinations=["a", "b"], newer_than="2026-01-01T00:00:00Z", min_sent=5
    )


# Which reading counts: Google tells no rate of a small upload, only of the whole list.

LIST = {"primary": False, "kind": "bounds", "sent": 573}
SMALL = reading(kind="not_offered", sent=20)
WHOLE = reading(0.56, 0.58, **LIST)


def status(readings, **changes):
    return judge(rule(**changes), ["google"], readings).status


def test_the_whole_list_counts_where_the_upload_says_nothing():
    verdict = judge(rule(), ["google"], [SMALL, WHOLE])
    assert verdict.status == PASSED
    assert verdict.readings["google"]["primary"] is False
    assert "of 573 in the list; the upload's own reading tells no rate" in verdict.text()
    assert status([reading(kind="count", matched=3), WHOLE]) == PASSED
    assert status([WHOLE]) == PASSED
    assert status([SMALL]) == NOT_OFFERED


def test_the_uploads_own_rate_comes_first():
    assert status([reading(0.3, 0.4), WHOLE]) == BELOW
    late = {**WHOLE, "as_of": "2026-01-03T00:00:00Z"}
    assert status([reading(0.3, 0.4), late]) == BELOW


def test_an_upload_that_is_too_small_gives_way_to_the_whole_list():
    few = reading(0.1, 0.2, sent=20)
    assert status([few, WHOLE], min_sent=100) == PASSED
    assert status([few, WHOLE], min_sent=1000) == WAITING
    verdict = judge(rule(min_sent=1000, run_id="run-1"), ["google"], [few, WHOLE])
    assert verdict.status == NOT_OFFERED and "only a reading of 20 persons" in verdict.text()


def test_what_is_pending_is_waited_for_and_not_replaced_by_the_list_before_it():
    assert status([reading(kind="pending"), WHOLE]) == WAITING
    assert status([reading(kind="pending"), WHOLE], run_id="run-1") == WAITING


OLD = reading(0.6, 0.7, run_id="run-0", as_of="2026-01-01T00:00:00Z")
LATER = {"run_id": "run-2", "as_of": "2026-01-03T00:00:00Z"}


def test_a_run_is_not_judged_by_an_older_one():
    assert status([OLD, reading(kind="pending")]) == PASSED
    assert status([OLD, reading(kind="pending")], run_id="run-1") == WAITING
    assert status([OLD, SMALL], run_id="run-1") == NOT_OFFERED
    assert status([OLD], run_id="run-1") == WAITING
    assert status([OLD, reading(0.3, 0.4)], run_id="run-1") == BELOW


def test_a_later_run_takes_over_what_a_run_left_open():
    """The daemon asks for verdicts in the name of the latest run."""
    mine = reading(kind="pending")
    assert status([mine, reading(0.6, 0.7, **LATER)], run_id="run-1") == PASSED
    assert status([reading(0.3, 0.4), reading(0.6, 0.7, **LATER)], run_id="run-1") == BELOW
    assert status([mine, {**SMALL, **LATER}], run_id="run-1") == NOT_OFFERED
    assert status([mine, {**mine, **LATER}], run_id="run-1") == WAITING


def run(state="done", **states):
    parts = [{"destination": name, "state": one} for name, one in states.items()]
    return Run({"id": "run-1", "audience": "dormant", "state": state, "destinations": parts})


def test_the_destinations_are_the_runs():
    audience = {"destinations": [{"name": "google"}, {"name": "meta"}]}
    assert destinations_of(rule(), None, audience) == ["google", "meta"]
    assert destinations_of(rule(), run(google="done"), None) == ["google"]
    assert destinations_of(rule(destinations=["meta"]), run(google="done"), audience) == ["meta"]


def test_where_the_run_failed_nothing_will_come():
    one = run("partial", google="done", meta="failed")
    verdict = judge(rule(run_id="run-1"), ["google", "meta"], [reading(0.6, 0.7)], one)
    assert verdict.status == NOT_OFFERED and "meta: run run-1 failed there" in verdict.text()
    ignoring = rule(run_id="run-1", when_not_offered="ignore")
    assert judge(ignoring, ["google", "meta"], [reading(0.6, 0.7)], one).status == PASSED


def test_a_run_that_still_sends_is_waited_for():
    waiting = run("queued", google="pending")
    waiting = Run({**waiting, "destinations": [{**waiting.destinations[0], "warnings": ["not decided on 30 members"]}]})
    verdict = judge(rule(run_id="run-1"), [], [], waiting)
    assert verdict.status == WAITING
    assert verdict.lines[1:] == ["google: not decided on 30 members"]
