from __future__ import annotations

import atexit
import json
import logging
import os
import shutil
import tempfile
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest

# Before Airflow is imported: its home, and nothing of the user's own.
HOME = tempfile.mkdtemp(prefix="reveil-airflow-unit-")
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
os.environ["AIRFLOW_HOME"] = HOME
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"

from fake_api import TOKEN, FakeReveil  # noqa: E402


@pytest.fixture
def fake():
    server = FakeReveil()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def connection(fake, monkeypatch):
    """The connection `reveil_default`, as an environment variable holds it."""

    def connect(**changes: Any) -> None:
        fields = {
            "conn_type": "reveil",
            "host": fake.url,
            "password": TOKEN,
            "extra": {"retries": 3, "timeout_secs": 5},
        }
        monkeypatch.setenv("AIRFLOW_CONN_REVEIL_DEFAULT", json.dumps({**fields, **changes}))

    connect()
    return connect


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch):
    """The policy's own waits are tested by themselves; here they would only take time."""
    from airflow_provider_reveil.hooks import retry

    monkeypatch.setattr(retry.random, "uniform", lambda _low, _high: 0.01)


class Logged:
    """What was logged so far: Airflow 2 logs through `logging`, Airflow 3 prints."""

    def __init__(self, caplog: Any, capsys: Any) -> None:
        self._caplog, self._capsys, self._printed = caplog, capsys, ""

    def text(self) -> str:
        self._printed += "".join(self._capsys.readouterr())
        return self._caplog.text + self._printed


@pytest.fixture(autouse=True)
def log(caplog, capsys):
    """Whatever a test does, the token is in no log line."""
    caplog.set_level(logging.DEBUG)
    logged = Logged(caplog, capsys)
    yield logged
    assert TOKEN not in logged.text()


class FakeTaskInstance(SimpleNamespace):
    """As much of a task instance as operators touch, in both versions of Airflow."""

    def xcom_push(self, key: str, value: Any) -> None:
        json.dumps(value)  # XCom takes what JSON takes.
        self.xcoms[key] = value


class OutletEvents(dict):
    """By URI: not every Airflow's assets can be keys of a dictionary."""

    def __getitem__(self, asset: Any) -> Any:
        return self.setdefault(asset.uri, SimpleNamespace(extra={}))


@pytest.fixture
def context():
    def make(**changes: Any) -> dict[str, Any]:
        fields = {
            "dag_id": "shop",
            "run_id": "scheduled__2026-01-02",
            "task_id": "sync",
            "map_index": -1,
            "try_number": 1,
            "max_tries": 2,
            "start_date": datetime.now(timezone.utc),
            "xcoms": {},
        }
        return {"ti": FakeTaskInstance(**{**fields, **changes}), "outlet_events": OutletEvents()}

    return make
