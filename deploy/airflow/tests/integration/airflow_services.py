"""A real scheduler and triggerer, and the database between them, for both versions of Airflow."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS
from airflow.utils.session import create_session
from postgres import free_port

ENDED = ("success", "failed", "skipped", "upstream_failed")


class AirflowServices:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        environment = dict(os.environ)
        environment["HOME"] = str(self.home)
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment["AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT"] = str(free_port())
        environment["AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT"] = str(free_port())
        if AIRFLOW_V_3_0_PLUS:
            self._start_api(environment)
            self._spawn(environment, "dag-processor")
        self._spawn(environment, "scheduler")
        self._spawn(environment, "triggerer")

    def _start_api(self, environment: dict[str, str]) -> None:
        """What Airflow 3's workers speak to; a task that finds nobody there fails."""
        port = free_port()
        environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] = f"http://127.0.0.1:{port}/execution/"
        environment["AIRFLOW__API_AUTH__JWT_SECRET"] = secrets.token_hex(32)
        where = ["--apps", "execution", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        self._spawn(environment, "api-server", *where)
        health = f"http://127.0.0.1:{port}/execution/health"

        def answers() -> bool:
            with contextlib.suppress(OSError), urllib.request.urlopen(health, timeout=60) as answer:
                return answer.status == 200
            return False

        wait_until(answers, "Airflow's API server answers", 120)

    def _spawn(self, environment: dict[str, str], *command: str) -> None:
        with (self.home / f"{command[0]}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "airflow", *command],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)

    def stop(self) -> None:
        """Each with the children that it started."""
        for process in self.processes:
            _signal_group(process, signal.SIGTERM)
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            _signal_group(process, signal.SIGKILL)
            process.wait()

    def let_go_of(self, run_id: str) -> bool:
        """Whether the scheduler has heard that a task of the run has left its worker, as a deferred one does.

        Airflow takes a task for lost that is resumed before that, and fails it; a worker takes up to 5 s to end.
        """
        log = (self.home / "scheduler.log").read_text(errors="replace")
        return any("executor event with state success" in line and run_id in line for line in log.splitlines())

    def is_watched(self, run_id: str) -> bool:
        """Whether the triggerer runs a trigger of the run's tasks: before, there is nothing that could cancel."""
        logs = (self.home / "logs").glob(f"dag_id=*/run_id={run_id}/**/*.trigger.*.log")
        return any(path.stat().st_size > 0 for path in logs)

    def task_log(self, dag_id: str) -> str:
        return "\n".join(
            path.read_text(errors="replace") for path in (self.home / "logs").rglob("*.log*") if dag_id in str(path)
        )


def trigger(dag_id: str, day: datetime) -> str:
    """Starts a DAG by hand, as of a day; waits until the DAG is known."""
    wake(dag_id)
    run_id = f"manual__{day:%Y-%m-%d}__{secrets.token_hex(3)}"
    from airflow.api.common.trigger_dag import trigger_dag

    if AIRFLOW_V_3_0_PLUS:
        from airflow.utils.types import DagRunTriggeredByType

        trigger_dag(dag_id, run_id=run_id, logical_date=day, triggered_by=DagRunTriggeredByType.TEST)
    else:
        trigger_dag(dag_id, run_id=run_id, execution_date=day, replace_microseconds=False)
    return run_id


def wake(dag_id: str) -> None:
    """Waits until a DAG is known, and lifts its pause."""
    from airflow.models.dag import DagModel

    wait_until(lambda: _known(dag_id), f"DAG {dag_id} is known", 60)
    with create_session() as session:
        session.query(DagModel).filter_by(dag_id=dag_id).update({"is_paused": False})


def _known(dag_id: str) -> bool:
    from airflow.models.dag import DagModel
    from airflow.models.serialized_dag import SerializedDagModel

    # The processor writes one after the other.
    with create_session() as session:
        return all(
            session.query(model.dag_id).filter_by(dag_id=dag_id).first() for model in (DagModel, SerializedDagModel)
        )


def task(dag_id: str, run_id: str, task_id: str) -> Any:
    """A task instance as it is now, or None before there is one."""
    from airflow.models.taskinstance import TaskInstance

    with create_session() as session:
        found = session.query(TaskInstance).filter_by(dag_id=dag_id, run_id=run_id, task_id=task_id).first()
        session.expunge_all()
        return found


def xcom(dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
    """A task's value, or None if there is none yet."""
    return next(iter(xcoms(dag_id, run_id, task_id, key)), None)


def xcoms(dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> list[Any]:
    """A mapped task's values."""
    with create_session() as session:
        if AIRFLOW_V_3_0_PLUS:
            from airflow.models.xcom import XComModel as Model

            read = Model.deserialize_value
        else:
            from airflow.models.xcom import XCom as Model

            def read(row: Any) -> Any:
                return row.value  # Deserialised as it was loaded.

        query = session.query(Model).filter_by(dag_id=dag_id, run_id=run_id, task_id=task_id, key=key)
        return [read(row) for row in query.order_by(Model.map_index)]


def mark_failed(dag_id: str, run_id: str, task_id: str) -> None:
    """What the button "Mark as failed" does to a task in the database."""
    from airflow.models.taskinstance import TaskInstance

    with create_session() as session:
        session.query(TaskInstance).filter_by(dag_id=dag_id, run_id=run_id, task_id=task_id).update(
            {"state": "failed", "end_date": datetime.now(timezone.utc)}, synchronize_session=False
        )


def wait_until(holds: Callable[[], Any], what: str, secs: float = 60) -> Any:
    until = time.monotonic() + secs
    while time.monotonic() < until:
        if found := holds():
            return found
        time.sleep(0.25)
    raise AssertionError(f"after {secs:.0f} s it was still not true that {what}")


def wait_for_state(dag_id: str, run_id: str, task_id: str, *states: str, secs: float = 60) -> Any:
    def reached() -> Any:
        instance = task(dag_id, run_id, task_id)
        if instance is not None and instance.state in ENDED and instance.state not in states:
            raise AssertionError(f"{dag_id}.{task_id} is {instance.state}, not {states}")
        return instance if instance is not None and instance.state in states else None

    return wait_until(reached, f"{dag_id}.{task_id} is {' or '.join(states)}", secs)


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
