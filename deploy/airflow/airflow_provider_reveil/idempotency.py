"""The key that makes a task's retry find its run again instead of starting another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def first_try(task_instance: Any, retries: int) -> int:
    """The try that began the current round of tries.

    Airflow raises `max_tries` when a person clears the task, so the difference to the task's `retries` tells tries
    before and after a clear apart: a cleared task shall do its work again, a retried one shall find it done.
    """
    max_tries = getattr(task_instance, "max_tries", None)
    if max_tries is None:
        return 1
    return min(max(1, max_tries - retries + 1), task_instance.try_number)


def key(task_instance: Any, round_: int, generation: int, options: Mapping[str, Any]) -> str:
    """The key of the run that try number `generation` may have started.

    `options` are part of it: after an edit of the DAG, the old key with a new body would be refused for ever.
    """
    parts = [
        task_instance.dag_id,
        task_instance.run_id,
        task_instance.task_id,
        task_instance.map_index,
        round_,
        generation,
        dict(sorted(options.items())),
    ]
    return f"airflow-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:48]}"


def generations(task_instance: Any, retries: int) -> tuple[int, range]:
    """The round and the tries of it up to this one, oldest first."""
    begin = first_try(task_instance, retries)
    return begin, range(begin, task_instance.try_number + 1)
