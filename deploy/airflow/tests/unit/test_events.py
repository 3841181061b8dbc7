"""The event stream's form, and its lines in the log."""

from __future__ import annotations

from airflow_provider_reveil.events import EventParser, RunEvent

STREAM = """\
: hello
retry: 1000

id: 1
event: state
data: {"state": "running", "run_id": "r"}

event: progress
id: 2
data: {"destination": "meta",
data:  "operation": "add", "done": 5, "total": 10, "nested": {"a": 1}}

id: 3
event: warning
data: {"destination": "google", "text": "slow", "hint": "wait"}

id: x
data: {}

id: 4
event: progress
data: not json

id: 5
data: [1]

id: 6
event: progress
data: {"cut": "off"}
"""


def test_a_stream_becomes_events():
    events = list(EventParser().events(STREAM.splitlines()))
    assert [(event.seq, event.kind) for event in events] == [
        (1, "state"),
        (2, "progress"),
        (3, "warning"),
        (5, "message"),
    ]
    assert [event.line() for event in events] == [
        "state running",
        "progress meta add: done=5, total=10",
        "warning google: slow (hint=wait)",
        "message",
    ]
    assert [event.is_warning for event in events] == [False, False, True, False]


def test_what_settles_a_run():
    assert RunEvent("end", 1).settles
    assert RunEvent("state", 1, {"state": "pending"}).settles
    assert not RunEvent("state", 1, {"state": "running"}).settles
    assert not RunEvent("progress", 1, {"state": "done"}).settles


def test_a_line_has_no_empty_tail():
    assert RunEvent("end", 9, {"state": "done"}).line() == "end done"
    assert RunEvent("stage", 9, {"text": "Reading the warehouse"}).line() == "stage: Reading the warehouse"
