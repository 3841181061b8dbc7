"""The projection as a gate, and erasure without a trace of whom."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_reveil.errors import ReveilCheckFailed
from airflow_provider_reveil.operators.forget import ReveilForgetOperator
from airflow_provider_reveil.operators.project_roi import ReveilProjectRoiOperator

PROJECTION = {
    "point": {"roi": -0.42, "cpa": 41.7},
    "simulation": {"p_roi_positive": 0.18, "baskets": {"p50": 124.0}},
    "warnings": ["the cap binds"],
}


def project(fake, **options):
    fake.projection = PROJECTION
    return ReveilProjectRoiOperator(task_id="roi", **{"inactives": 100_000, **options})


def test_it_asks_and_gives_the_projection(fake, context, log):
    operator = project(fake, budget=9000, audience="dormant", options={"margin": "0.4"})
    assert operator.execute(context()) == PROJECTION
    assert fake.requests("POST /v1/roi/project")[0].body == {
        "audience": "dormant",
        "inactives": 100_000,
        "budget": "9000",
        "margin": "0.4",
    }
    assert "the cap binds" in log.text()


def test_limits_may_name_a_figure_anywhere(fake, context):
    fine = project(fake, fail_if_below={"p_roi_positive": 0.1, "baskets.p50": "100"}, fail_if_above={"point.cpa": 50})
    fine.execute(context())
    with pytest.raises(ReveilCheckFailed, match=r"p_roi_positive is 0\.18, below 0\.5; point\.cpa is 41\.7, above 40"):
        project(fake, fail_if_below={"p_roi_positive": 0.5}, fail_if_above={"point.cpa": 40}).execute(context())


def test_it_may_skip_instead(fake, context):
    with pytest.raises(AirflowSkipException):
        project(fake, fail_if_below={"point.roi": 0}, on_failure="skip").execute(context())


def test_a_figure_that_is_not_there_is_no_pass(fake, context):
    with pytest.raises(AirflowFailException, match="no figure 'p_roi'"):
        project(fake, fail_if_below={"p_roi": 0.5}).execute(context())


def test_a_refused_projection_is_not_retried(fake, context):
    fake.fail("POST .*", status=422)
    with pytest.raises(AirflowFailException, match="422"):
        project(fake).execute(context())


PERSON = {"kind": "email", "value": "someone@example.com"}


def forget(people, reference="ticket 7"):
    return ReveilForgetOperator(task_id="forget", identifiers=lambda: people, reference=reference)


def test_an_erasure_is_passed_on_and_nobody_is_named(fake, context, log):
    where = context()
    assert forget([PERSON]).execute(where) == "forget-1"
    assert fake.forgotten == [{"identifiers": [PERSON], "reference": "ticket 7"}]
    assert "someone" not in log.text() and "with 1 identifiers" in log.text()
    assert where["ti"].xcoms == {}


def test_identifiers_are_no_field_that_airflow_would_store():
    assert set(ReveilForgetOperator.template_fields) == {"reveil_conn_id", "reference"}


def test_a_retry_asks_with_the_same_key(fake, context):
    for try_number in (1, 2):
        forget([PERSON]).execute(context(try_number=try_number))
    forget([PERSON, {"kind": "customer_id", "value": "7"}]).execute(context())
    keys = [seen.headers["Idempotency-Key"] for seen in fake.requests("POST /v1/forget")]
    assert keys[0] == keys[1] != keys[2]


def test_nobody_to_forget_is_a_skip(fake, context):
    with pytest.raises(AirflowSkipException):
        forget([]).execute(context())
    assert not fake.seen
