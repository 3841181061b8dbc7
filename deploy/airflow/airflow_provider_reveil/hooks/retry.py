"""When to try a request again. One rule for the synchronous and the asynchronous client; neither sleeps on its own."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from airflow_provider_reveil.errors import ReveilApiError


@dataclass(frozen=True)
class RetryPolicy:
    """Every request this provider makes may be repeated: it reads, carries an idempotency key, or asks for a state."""

    retries: int = 4
    first_wait_secs: float = 0.5
    #: A longer `Retry-After` is left to Airflow's own retry, so that a worker slot is not held for it.
    longest_wait_secs: float = 60

    def wait_secs(self, attempt: int, error: ReveilApiError, headers: Mapping[str, str]) -> float | None:
        """Seconds before the next attempt after attempt number `attempt` (from 0), or None to give up."""
        if attempt >= self.retries or not error.temporary:
            return None
        asked = parse_retry_after(headers.get("Retry-After"))
        if asked is not None:
            return asked if asked <= self.longest_wait_secs else None
        wait = min(self.first_wait_secs * 2**attempt, self.longest_wait_secs)
        # Full waits for all mapped tasks at once would meet at the daemon again.
        return wait * random.uniform(0.5, 1)  # noqa: S311


def parse_retry_after(value: str | None) -> float | None:
    """Seconds from a `Retry-After` in either of its forms; None if there is none that can be read."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=timezone.utc)
    return max(0.0, (until - datetime.now(timezone.utc)).total_seconds())
