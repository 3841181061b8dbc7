"""What Airflow itself reads: provider info, connection form, links, DAGs, template fields, assets."""

from __future__ import annotations

import json
from importlib.metadata import entry_points, version
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

import airflow
import jsonschema
import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS
from airflow.providers_manager import ProvidersManager

import airflow_provider_reveil
from airflow_provider_reveil.assets.audience import audience_asset, create_asset, sanitize_uri
from airflow_provider_reveil.connection_form import CONN_FIELDS
from airflow_provider_reveil.hooks.reveil import ReveilHook
from airflow_provider_reveil.links.run_page import ReveilRunLink
from airflow_provider_reveil.operators.forget import ReveilForgetOperator
from airflow_provider_reveil.operators.project_roi import ReveilProjectRoiOperator
from airflow_provider_reveil.operators.sync_audience import ReveilFullResyncOperator, ReveilSyncAudienceOperator
from airflow_provider_reveil.provider_info import get_provider_info
from airflow_provider_reveil.sensors.match_rate import ReveilMatchRateSensor
from airflow_provider_reveil.sensors.run import ReveilRunSensor

EXAMPLES = Path(airflow_provider_reveil.__file__).parent / "example_dags"


def test_the_entry_point_gives_the_info():
    [point] = [one for one in entry_points(group="apache_airflow_provider") if "reveil" in one.value]
    assert point.name == "provider_info"
    info = point.load()()
    assert info == get_provider_info()
    assert info["versions"] == [version("airflow-provider-reveil")]


def test_the_info_keeps_airflow_s_schema():
    schema = json.loads(files(airflow).joinpath("provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)
    try:
        strict = json.loads(files(airflow).joinpath("provider.yaml.schema.json").read_text())
    except FileNotFoundError:
        return
    one = strict["properties"]["connection-types"]["items"]
    jsonschema.validate(
        get_provider_info()["connection-types"][0], {**one, "definitions": strict.get("definitions", {})}
    )


def test_every_module_named_there_exists():
    import importlib

    info = get_provider_info()
    for kind in ("hooks", "operators", "sensors", "triggers"):
        for group in info[kind]:
            for module in group["python-modules"]:
                importlib.import_module(module)
    for path in info["extra-links"]:
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name)


def test_airflow_knows_the_connection_type_and_its_form():
    manager = ProvidersManager()
    assert manager.hooks["reveil"].hook_name == "Réveil"
    behaviour = manager.field_behaviours["reveil"]
    assert behaviour["hidden_fields"] == ["login", "port", "schema", "extra"]
    assert behaviour["relabeling"] == {"host": "URL", "password": "Token"}
    widgets = {name for name in manager.connection_form_widgets if name.startswith("extra__reveil__")}
    assert widgets == {f"extra__reveil__{name}" for name in CONN_FIELDS}
    assert "airflow_provider_reveil.links.run_page.ReveilRunLink" in manager.extra_links_class_names


def test_the_hook_states_the_same_form():
    behaviour = ReveilHook.get_ui_field_behaviour()
    said = get_provider_info()["connection-types"][0]["ui-field-behaviour"]
    assert behaviour["hidden_fields"] == said["hidden-fields"]
    assert behaviour["placeholders"] == said["placeholders"]
    if not AIRFLOW_V_3_0_PLUS:
        assert set(ReveilHook.get_connection_form_widgets()) == set(CONN_FIELDS)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("reveil_*.py")), ids=lambda path: path.stem)
def test_example_dags_import(path):
    import importlib

    from airflow.providers.common.compat.sdk import DAG

    module = importlib.import_module(f"airflow_provider_reveil.example_dags.{path.stem}")
    dags = [one for one in vars(module).values() if isinstance(one, DAG)] or list(_dags_of(path))
    [dag] = dags
    assert dag.dag_id == path.stem
    assert dag.tasks


def _dags_of(path):
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:
        from airflow.models.dagbag import DagBag

    bag = DagBag(dag_folder=str(path))
    assert bag.import_errors == {}
    return bag.dags.values()


@pytest.mark.parametrize(
    ("operator", "ids"),
    [
        (
            ReveilSyncAudienceOperator,
            {"reveil_conn_id", "audience", "destinations", "as_of", "full", "retry_rejected", "plan_only"},
        ),
        (ReveilFullResyncOperator, {"reveil_conn_id", "audience", "destinations", "as_of"}),
        (ReveilRunSensor, {"reveil_conn_id", "run_id"}),
        (ReveilMatchRateSensor, {"reveil_conn_id", "audience", "destinations", "run_id", "newer_than", "min_rate"}),
        (ReveilProjectRoiOperator, {"reveil_conn_id", "audience", "platforms", "inactives", "budget"}),
        (ReveilForgetOperator, {"reveil_conn_id", "reference"}),
    ],
)
def test_every_id_is_a_template(operator, ids):
    assert ids <= set(operator.template_fields)


def test_the_link_reads_the_run_s_page(monkeypatch):
    from airflow_provider_reveil.links import run_page

    asked = []

    def get_value(*, key, ti_key):
        asked.append((key, ti_key))
        return "https://reveil.example.com/runs/r"

    monkeypatch.setattr(run_page.XCom, "get_value", get_value)
    link = ReveilRunLink()
    assert link.get_link(None, ti_key="this task") == "https://reveil.example.com/runs/r"
    assert asked == [("run_url", "this task")]
    assert link.xcom_key == "run_url"
    assert any(isinstance(one, ReveilRunLink) for one in ReveilSyncAudienceOperator.operator_extra_links)


# Assets


def outlets(**options):
    return [
        one.uri for one in ReveilSyncAudienceOperator(**{"task_id": "sync", "audience": "dormant", **options}).outlets
    ]


def test_an_audience_is_an_outlet():
    assert outlets() == ["reveil://reveil_default/audience/dormant"]
    assert outlets(asset_host="reveil.example.com:8750") == ["reveil://reveil.example.com:8750/audience/dormant"]
    assert outlets(dry_run="{{ params.plan_only }}") == outlets()
    mine = audience_asset("mine", "elsewhere")
    assert outlets(outlets=[mine]) == [mine.uri, "reveil://reveil_default/audience/dormant"]
    assert audience_asset("dormant").uri == outlets()[0]
    assert create_asset(host="h", audience="été 60").uri == "reveil://h/audience/%C3%A9t%C3%A9%2060"


@pytest.mark.parametrize(
    "options", [{"emit_asset": False}, {"dry_run": "true"}, {"wait_for": None}, {"audience": "{{ params.audience }}"}]
)
def test_nothing_is_promised_that_may_not_come(options):
    assert outlets(**options) == []


@pytest.mark.parametrize(
    "uri", ["reveil:///audience/x", "reveil://h/run/x", "reveil://h/audience/", "reveil://h/audience/a/b"]
)
def test_a_wrong_asset_uri_is_refused(uri):
    with pytest.raises(ValueError, match="must look like"):
        sanitize_uri(urlsplit(uri))
