"""The projection as a gate, and erasure without a trace of whom."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_reveil.errors import ReveilCheckFailed
from airflow_provider_reveil.operators.forget import ReveilForgetOperator
from airflow_provider_reveil.operators.project_roi import ReveilProjectRoiOperator
from airflow_provider_reveil.projections import Projection

SPREAD = {"mean": 2.0, "p05": 0.2, "p50": 1.2, "p95": 6.3}


def of_platform(name, cpa=41.7, p_roi_positive=0.18, warnings=("the cap binds",)):
    return {
        "platform": name,
        "currency": "EUR",
        "point": {"roi": -0.42, "cpa": cpa, "cost": 50.0, "iroas": None},
        "simulation": {
            "p_roi_positive": p_roi_positive,
            "p_incremental_roi_positive": 0.57,
            "baskets": {"p50": 124.0},
            "reach": {**SPREAD, "p50": 350.0},
            "incremental_buyers": SPREAD,
            "incremental_roi": SPREAD,
        },
        "optimum": {"budget": 20.7},
        "assumptions": [{"name": "cpm", "central": 8.0}],
        "warnings": list(warnings),
    }


ONE = of_platform("meta")
TWO = {
    "platforms": [ONE, of_platform("google", cpa=12.5, warnings=["the cap binds", "billed per click"])],
    "reach": {"independent": 0.76, "low": 0.54, "high": 1.0},
    "persons_reached": {**SPREAD, "p50": 503.0},
    "incremental_buyers": SPREAD,
    "incremental_roi": SPREAD,
    "p_incremental_roi_positive": 0.83,
    "cost": 66.0,
}


def project(fake, answer=ONE, **options):
    fake.projection = answer
    return ReveilProjectRoiOperator(task_id="roi", **{"inactives": 100_000, **options})


def test_it_asks_and_gives_the_projection(fake, context, log):
    operator = project(fake, budget=9000, audience="dormant", platforms="meta, google", options={"margin": "0.4"})
    assert operator.execute(context()) == ONE
    assert fake.requests("POST /v1/roi/project")[0].body == {
        "audience": "dormant",
        "platform": ["meta", "google"],
        "inactives": 100_000,
        "budget": "9000",
        "margin": "0.4",
    }
    assert "meta: the cap binds" in log.text()


def test_limits_may_name_a_figure_anywhere(fake, context):
    fine = project(fake, fail_if_below={"p_roi_positive": 0.1, "baskets.p50": "100"}, fail_if_above={"point.cpa": 50})
    fine.execute(context())
    with pytest.raises(ReveilCheckFailed, match=r"p_roi_positive is 0\.18, below 0\.5; point\.cpa is 41\.7, above 40"):
        project(fake, fail_if_below={"p_roi_positive": 0.5}, fail_if_above={"point.cpa": 40}).execute(context())


@pytest.mark.parametrize(
    ("place", "of_one", "of_two"),
    [
        ("p_incremental_roi_positive", 0.57, 0.83),
        ("cost", 50, 66),
        ("persons_reached.p50", 350, 503),
        ("incremental_roi.p50", 1.2, 1.2),
        ("incremental_buyers.mean", 2, 2),
        ("meta.point.cpa", 41.7, 41.7),
        ("platforms.meta.point.cpa", 41.7, 41.7),
        ("meta.p_roi_positive", 0.18, 0.18),
    ],
)
def test_a_name_means_the_same_for_one_platform_and_for_two(place, of_one, of_two):
    assert Projection(ONE).find(place) == {place: of_one}
    assert Projection(TWO).find(place) == {place: of_two}


def test_each_platform_is_checked(fake, context):
    assert Projection(ONE).find("each.point.cpa") == {"meta.point.cpa": 41.7}
    with pytest.raises(ReveilCheckFailed, match=r"no: meta\.point\.cpa is 41\.7, above 40$"):
        project(fake, TWO, fail_if_above={"each.point.cpa": 40}).execute(context())
    project(fake, TWO, fail_if_above={"google.point.cpa": 40}).execute(context())


@pytest.mark.parametrize("place", ["p_roi_positive", "point.roi", "point.cpa"])
def test_a_platforms_figure_wants_its_platform_where_there_are_two(fake, context, place):
    with pytest.raises(AirflowFailException) as raised:
        project(fake, TWO, fail_if_below={place: 0}).execute(context())
    text = str(raised.value)
    assert f"say 'meta.{place}' or 'google.{place}' or 'each.{place}'" in text
    assert "of all platforms together: cost, incremental_buyers.mean" in text
    assert "of meta, google, with the platform's name before it: optimum.budget, point.cost, point.cpa" in text


@pytest.mark.parametrize("answer", [ONE, TWO])
@pytest.mark.parametrize("place", ["p_roi", "tiktok.point.roi", "meta", "each", "incremental_roi", "meta.point.iroas"])
def test_a_figure_that_is_not_there_is_no_pass(fake, context, answer, place):
    with pytest.raises(AirflowFailException, match=f"no figure '{place}'\n  there are"):
        project(fake, answer, fail_if_below={place: -9}).execute(context())


def test_figures_in_xcom_have_one_shape(fake, context):
    for answer, names, positive in ((ONE, ["meta"], 0.57), (TWO, ["meta", "google"], 0.83)):
        where = context()
        assert project(fake, answer).execute(where) == answer
        figures = where["ti"].xcoms["figures"]
        assert list(figures["platforms"]) == names
        assert figures["platforms"]["meta"]["point"]["cpa"] == 41.7
        assert figures["together"]["p_incremental_roi_positive"] == positive
        assert figures["together"]["persons_reached"]["p50"] > 0


def test_warnings_are_told_with_their_platform(fake, context, log):
    project(fake, TWO).execute(context())
    assert "meta, google: the cap binds" in log.text()
    assert "google: billed per click" in log.text()


def test_it_may_skip_instead(fake, context):
    with pytest.raises(AirflowSkipException):
        project(fake, fail_if_below={"point.roi": 0}, on_failure="skip").execute(context())


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
