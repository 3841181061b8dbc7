from __future__ import annotations

import base64
import json
import logging
import os
import shutil
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
HOME = Path(tempfile.mkdtemp(prefix="reveil-airflow-"))
DAGS = HOME / "dags"
LINEAGE = HOME / "lineage.json"

# Before Airflow is imported, here and in the processes that tests start.
os.environ.update(
    {
        "AIRFLOW_HOME": str(HOME),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "2",
        # Tests wake the DAGs they run; the examples' own schedules shall not fire meanwhile.
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "1",
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "30",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
        "AIRFLOW__SCHEDULER__MIN_FILE_PROCESS_INTERVAL": "5",
        "AIRFLOW__SCHEDULER__PARSING_PROCESSES": "1",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps({"type": "file", "log_file_path": str(LINEAGE), "append": True}),
        "PYTHONWARNINGS": "ignore",
    }
)

from daemon import Daemon  # noqa: E402
from postgres import Postgres, remove_at_exit  # noqa: E402

remove_at_exit(HOME)
DATABASE = Postgres()
os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = DATABASE.url
# One key for all of Airflow's processes: each would make up its own.
os.environ["AIRFLOW__CORE__FERNET_KEY"] = base64.urlsafe_b64encode(os.urandom(32)).decode()


@pytest.fixture(scope="session")
def daemon():
    """The real daemon before simulated platforms, with a shop of made-up people."""
    service = Daemon(HOME / "reveil")
    try:
        service.start()
        for name, token in (("DEFAULT", service.token), ("PRIVACY", service.admin_token)):
            connection = {"conn_type": "reveil", "host": service.url, "password": token}
            os.environ[f"AIRFLOW_CONN_REVEIL_{name}"] = json.dumps(connection)
        yield service
    finally:
        service.stop()


@pytest.fixture(scope="session")
def airflow_home(daemon):
    """Airflow's database, and a folder with the tests' own DAGs and the examples."""
    DATABASE.start()
    DAGS.mkdir()
    import airflow_provider_reveil

    examples = Path(airflow_provider_reveil.__file__).parent / "example_dags"
    for source in [*(HERE / "dags").glob("*.py"), *examples.glob("reveil_*.py")]:
        shutil.copy(source, DAGS)
    from airflow.utils.db import initdb

    initdb()
    yield HOME
    from airflow import settings
    from sqlalchemy.orm import close_all_sessions

    close_all_sessions()
    settings.engine.dispose()
    # Airflow 2's `dag.test` keeps a connection, which the server now closes.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    DATABASE.stop()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    """Shows what Airflow's processes and the daemon said, beside a failed test."""
    report = (yield).get_result()
    if report.failed:
        for log in sorted([*HOME.glob("*.log"), *HOME.glob("reveil/*.log"), *HOME.glob("logs/dag_id=check*/**/*.log")]):
            report.sections.append((str(log.relative_to(HOME)), log.read_text(errors="replace")[-3000:]))
