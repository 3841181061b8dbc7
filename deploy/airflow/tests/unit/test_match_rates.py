"""The decision about match rates: intervals, bounds, silence."""

from __future__ import annotations

import pytest

from airflow_provider_reveil.match_rates import BELOW, NOT_OFFERED, PASSED, WAITING, RateRule, judge


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
    assert judge(rule(), ["google"], [reading(0.6, 0.7, primary=False)]).status == WAITING


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
