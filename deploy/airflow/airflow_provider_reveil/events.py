"""A run's live events: the `text/event-stream` of `/v1/runs/{id}/events`, and one log line for each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

STILL_SENDS = frozenset({"queued", "running"})
#: Fields that say the same as the line's own context.
UNSPOKEN = frozenset({"run", "run_id", "audience", "at", "seq", "kind"})
#: What a line begins with, after the event's kind.
HEAD = ("destination", "operation", "state")


@dataclass(frozen=True)
class RunEvent:
    """One event. `seq` is what `Last-Event-ID` resumes after."""

    kind: str
    seq: int
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def is_warning(self) -> bool:
        return self.kind == "warning"

    @property
    def settles(self) -> bool:
        """Whether it is time to look at the run again: it ended, or everything was sent."""
        return self.kind == "end" or (self.kind == "state" and self.body.get("state") not in STILL_SENDS)

    def line(self) -> str:
        """A sentence for the task's log: `progress meta add: done=500, total=900`."""
        said = {name: value for name, value in self.body.items() if name not in UNSPOKEN and _is_plain(value)}
        text = str(said.pop("text", ""))
        head = " ".join([self.kind, *(str(said.pop(name)) for name in HEAD if name in said)])
        tail = ", ".join(f"{name}={value}" for name, value in said.items())
        if not text:
            return f"{head}: {tail}" if tail else head
        return f"{head}: {text}" + (f" ({tail})" if tail else "")


class EventParser:
    """Turns the stream's lines into events; comments (the daemon's heartbeat) and strangers are passed over."""

    def __init__(self) -> None:
        self._kind = ""
        self._id = ""
        self._data: list[str] = []

    def feed(self, line: str) -> RunEvent | None:
        """Takes one line without its end; gives an event when the line completes one."""
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "event":
                self._kind = value
            elif name == "id":
                self._id = value
            elif name == "data":
                self._data.append(value)
            return None
        event = self._complete()
        self._kind, self._data = "", []
        return event

    def events(self, lines: Iterable[str]) -> Iterator[RunEvent]:
        for line in lines:
            if event := self.feed(line):
                yield event

    def _complete(self) -> RunEvent | None:
        if not self._data or not self._id.isdigit():
            return None
        try:
            body = json.loads("\n".join(self._data))
        except ValueError:
            return None
        return RunEvent(self._kind or "message", int(self._id), body if isinstance(body, dict) else {})


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int, float, bool))
