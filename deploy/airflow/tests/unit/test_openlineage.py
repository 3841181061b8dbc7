"""Lineage facets, with Airflow's OpenLineage provider and without it."""

from __future__ import annotations

import importlib
import sys

import pytest

from airflow_provider_reveil.assets.audience import audience_asset, convert_asset_to_openlineage
from airflow_provider_reveil.openlineage import audience as lineage
from airflow_provider_reveil.operators.sync_audience import ReveilSyncAudienceOperator


def test_a_sync_leads_from_the_segment_to_each_destination(fake, context):
    operator = ReveilSyncAudienceOperator(
        task_id="s", audience="dormant", as_of=None, poll_interval=0.05, wait_for="sent"
    )
    host = fake.url.removeprefix("http://")
    start = operator.get_openlineage_facets_on_start()
    assert [(one.namespace, one.name) for one in start.inputs + start.outputs] == [
        (f"reveil://{host}", "segment/dormant"),
        (f"reveil://{host}", "audience/dormant"),
    ]
    where = context()
    operator.execute(where)
    lineage = operator.get_openlineage_facets_on_complete(where["ti"])
    assert [one.name for one in lineage.inputs] == ["segment/dormant"]
    assert [one.name for one in lineage.outputs] == [
        "audience/dormant",
        "audience/dormant/destination/meta",
        "audience/dormant/destination/google",
    ]
    assert lineage.outputs[1].outputFacets["outputStatistics"].rowCount == 10
    assert lineage.run_facets["externalQuery"].externalQueryId == "run-1"
    assert lineage.run_facets["externalQuery"].source == f"{fake.url}/runs/run-1"


def test_the_run_names_the_task_as_its_parent(fake, context, monkeypatch):
    from airflow.providers.openlineage.plugins import macros

    monkeypatch.setattr(
        macros, "lineage_parent_id", lambda instance: f"default/{instance.dag_id}.{instance.task_id}/uuid"
    )
    operator = ReveilSyncAudienceOperator(task_id="sync", audience="dormant", as_of=None, wait_for=None)
    operator.execute(context(map_index=3, try_number=1))
    assert fake.runs["run-1"]["origin"] == (
        "Airflow shop.sync[3], run scheduled__2026-01-02, try 1; OpenLineage parent default/shop.sync/uuid"
    )


def test_a_parent_that_cannot_be_told_stops_nothing(fake, context, monkeypatch):
    from airflow.providers.openlineage.plugins import macros

    def breaks(_instance):
        raise AttributeError("no such field in this Airflow")

    monkeypatch.setattr(macros, "lineage_parent_id", breaks)
    operator = ReveilSyncAudienceOperator(task_id="sync", audience="dormant", as_of=None, wait_for=None)
    operator.execute(context(run_id="a\n" + "b" * 2000))
    assert fake.runs["run-1"]["origin"].startswith("Airflow shop.sync, run ab")
    assert len(fake.runs["run-1"]["origin"]) == 1000


def test_before_a_run_there_is_the_plan(fake, context):
    operator = ReveilSyncAudienceOperator(task_id="s", audience="dormant")
    assert operator.get_openlineage_facets_on_complete(context()["ti"]).run_facets == {}


def test_airflow_s_extractor_finds_the_methods(fake, context):
    from airflow.providers.openlineage.extractors.base import DefaultExtractor

    operator = ReveilSyncAudienceOperator(
        task_id="s", audience="dormant", as_of=None, poll_interval=0.05, wait_for="sent"
    )
    where = context()
    operator.execute(where)
    assert len(DefaultExtractor(operator).extract_on_complete(where["ti"]).outputs) == 3


def test_an_asset_is_named_like_the_operator_s_lineage():
    found = convert_asset_to_openlineage(audience_asset("été", "h:1"), None)
    assert (found.namespace, found.name) == ("reveil://h:1", "audience/été")


def test_the_operators_do_without_the_provider(fake, context, monkeypatch):
    for module in (
        "airflow.providers.openlineage.plugins.macros",
        "airflow.providers.openlineage.extractors",
        "airflow.providers.common.compat.openlineage.facet",
    ):
        monkeypatch.setitem(sys.modules, module, None)
    importlib.reload(lineage)
    operator = ReveilSyncAudienceOperator(task_id="s", audience="dormant", as_of=None, poll_interval=0.05)
    assert operator.execute(context()) == "run-1"
    with pytest.raises(ImportError):
        operator.get_openlineage_facets_on_start()
