"""Whether a person ended a deferred task, for Airflow versions whose triggers are not told.

From 3.3 on the triggerer calls a trigger's `on_kill`. Before, a cancelled trigger has to find out whether the task
is still deferred (the triggerer stops, another takes over: leave the run alone) or not (somebody marked or cleared it).
"""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS
from airflow.triggers.base import BaseTrigger
from airflow.utils.state import TaskInstanceState

TRIGGERS_ARE_TOLD = hasattr(BaseTrigger, "on_kill")


async def task_was_ended(trigger: BaseTrigger) -> bool:
    """Asks Airflow for the task's state. False when in doubt: a run too many beats a run cut off."""
    from asgiref.sync import sync_to_async

    task_instance = trigger.task_instance
    if task_instance is None:
        return False
    read = _state_from_api if AIRFLOW_V_3_0_PLUS else _state_from_database
    state = await sync_to_async(read)(task_instance)
    return state is not None and state != TaskInstanceState.DEFERRED


def _state_from_database(task_instance: Any) -> str | None:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    with create_session() as session:
        return (
            session.query(TaskInstance.state)
            .filter(
                TaskInstance.dag_id == task_instance.dag_id,
                TaskInstance.task_id == task_instance.task_id,
                TaskInstance.run_id == task_instance.run_id,
                TaskInstance.map_index == task_instance.map_index,
            )
            .scalar()
        )


def _state_from_api(task_instance: Any) -> str | None:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = RuntimeTaskInstance.get_task_states(
        dag_id=task_instance.dag_id,
        task_ids=[task_instance.task_id],
        run_ids=[task_instance.run_id],
        map_index=task_instance.map_index,
    )
    tasks = states.get(task_instance.run_id, {})
    mapped = f"{task_instance.task_id}_{task_instance.map_index}"
    return tasks.get(mapped, tasks.get(task_instance.task_id))
