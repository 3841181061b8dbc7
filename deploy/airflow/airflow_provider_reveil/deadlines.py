"""How long a task may wait: its own time-out and Airflow's `execution_timeout`, as instants."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

#: Airflow ends a deferred task at its execution time-out without waking the trigger, so the trigger stops a little
#: before, while it can still cancel the run.
SHARE_KEPT_BACK = 0.1
MOST_KEPT_BACK_SECS = 30.0


@dataclass(frozen=True)
class Deadlines:
    """Both in seconds since the epoch, as they travel in a trigger."""

    end_time: float
    execution_deadline: float | None = None

    @classmethod
    def of(cls, timeout_secs: float, execution_timeout: timedelta | None, started_at: datetime | None) -> Deadlines:
        now = time.time()
        if execution_timeout is None:
            return cls(now + timeout_secs)
        allowed = execution_timeout.total_seconds()
        started = _epoch(started_at) if started_at else now
        return cls(now + timeout_secs, started + allowed - min(allowed * SHARE_KEPT_BACK, MOST_KEPT_BACK_SECS))

    @property
    def first(self) -> float:
        return self.end_time if self.execution_deadline is None else min(self.end_time, self.execution_deadline)

    def passed(self) -> str | None:
        """Which of them has passed, in words."""
        now = time.time()
        if self.execution_deadline is not None and self.execution_deadline <= now:
            return "the task's execution_timeout"
        return "timeout" if self.end_time <= now else None

    def wait_secs(self, poll_interval: float) -> float:
        """Until the next look, but not beyond a deadline."""
        return min(poll_interval, max(0.05, self.first - time.time()))

    def backstop(self, poll_interval: float) -> timedelta:
        """For Airflow's own time-out of the deferral, should no triggerer be up to keep the deadline."""
        return timedelta(seconds=max(0.0, self.first - time.time()) + 2 * poll_interval + 60)


def _epoch(instant: Any) -> float:
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=timezone.utc)
    return instant.timestamp()
