"""A Réveil daemon for tests: it keeps runs, idempotency keys and readings, refuses what the real one refuses, and
fails on request. Written from the API's contract alone; it shares nothing with the provider."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "rvl_fake-token-that-no-log-may-hold"
ENDED = ("done", "partial", "failed", "cancelled")


@dataclass
class Fault:
    """What happens instead of an answer, to the next `times` requests whose `METHOD path` matches."""

    pattern: str
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    reset: bool = False
    slow_secs: float = 0
    body: str | None = None
    code: str | None = None
    #: Do what was asked, and lose the answer.
    after_doing: bool = False
    times: int = 1


@dataclass
class Seen:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


class FakeReveil:
    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.runs: dict[str, dict[str, Any]] = {}
        self.scripts: dict[str, list[list[Any]]] = {}
        self.pending_steps: dict[str, list[Any]] = {}
        self.events: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        self.keys: dict[str, tuple[str, dict[str, Any]]] = {}
        self.audiences = {"dormant": ["meta", "google"], "win-back.60": ["meta"]}
        self.observations: list[dict[str, Any]] = []
        self.projection: dict[str, Any] = {}
        self.forgotten: list[dict[str, Any]] = []
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.me: dict[str, Any] = {"name": "airflow", "role": "operator", "audiences": None}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    # What a test steers

    def script(self, audience: str, *steps: Any) -> None:
        """How the audience's next run goes: a step, a state or a change of fields, at each time it is read."""
        self.scripts.setdefault(audience, []).append(list(steps))

    def fail(self, pattern: str, **how: Any) -> None:
        self.faults.append(Fault(pattern, **how))

    def requests(self, pattern: str) -> list[Seen]:
        return [seen for seen in self.seen if re.fullmatch(pattern, f"{seen.method} {seen.path}")]

    def add_run(self, audience: str, state: str, **fields: Any) -> dict[str, Any]:
        with self.lock:
            run = _run(f"run-{len(self.runs) + 1}", audience, state, self.audiences[audience])
            run.update(fields)
            self.runs[run["id"]] = run
            self.events[run["id"]] = [("state", {"state": state})]
            return run

    def add_event(self, run_id: str, kind: str, **body: Any) -> None:
        with self.lock:
            self.events[run_id].append((kind, body))

    def set_state(self, run_id: str, state: str, **fields: Any) -> None:
        with self.lock:
            run = self.runs[run_id]
            run.update(state=state, **fields)
            for one in run["destinations"]:
                if one["state"] not in ENDED and "destinations" not in fields:
                    one["state"] = state
            self.events[run_id].append(("state", {"state": state}))
            if state in ENDED:
                self.events[run_id].append(("end", {"state": state}))

    def observe(self, destination: str, as_of: str, kind: str = "exact", **fields: Any) -> None:
        reading = {
            "audience": "dormant",
            "destination": destination,
            "connector": destination,
            "run_id": "run-1",
            "as_of": as_of,
            "sent": 1000,
            "kind": kind,
            "low": None,
            "high": None,
            "matched": None,
            "rate": None,
            "definition": "as the platform counts",
            "rules_version": 1,
            "primary": True,
        }
        self.observations.append({**reading, **fields})

    # What the API does

    def start(self, audience: str, body: dict[str, Any], key: str | None) -> tuple[int, dict[str, Any]]:
        if audience not in self.audiences:
            return _problem(404, "not_found", f"there is no audience {audience!r}")
        if unknown := set(body.get("destinations", [])) - set(self.audiences[audience]):
            return _problem(422, "unknown_destination", f"{audience!r} does not feed {sorted(unknown)}")
        origin = body.pop("origin", None)
        if origin is not None and not (len(origin) <= 1000 and origin.isprintable()):
            return _problem(422, "invalid_request", "origin is too long, or has control characters")
        told = json.dumps(body, sort_keys=True)
        if key in self.keys:
            before, answer = self.keys[key]
            return (202, answer) if before == told else _problem(422, "key_reused", "another body")
        run = self.add_run(
            audience, "queued", origin=origin, dry_run=body.get("dry_run", False), as_of=body.get("as_of")
        )
        if body.get("full"):
            run["kind"] = "full"
        if only := body.get("destinations"):
            run["destinations"] = [one for one in run["destinations"] if one["destination"] in only]
        scripts = self.scripts.get(audience)
        self.pending_steps[run["id"]] = scripts.pop(0) if scripts else ["running", "done"]
        answer = json.loads(json.dumps(run))
        if key:
            self.keys[key] = (told, answer)
        return 202, answer

    def read(self, run_id: str) -> tuple[int, dict[str, Any]]:
        if run_id not in self.runs:
            return _problem(404, "not_found", "there is no such run")
        answer = json.loads(json.dumps(self.runs[run_id]))
        steps = self.pending_steps.get(run_id)
        if steps and self.runs[run_id]["state"] not in ENDED:
            step = steps.pop(0)
            fields = {"state": step} if isinstance(step, str) else dict(step)
            self.set_state(run_id, fields.pop("state"), **fields)
        return 200, answer

    def cancel(self, run_id: str) -> tuple[int, dict[str, Any]]:
        run = self.runs.get(run_id)
        if run is None:
            return _problem(404, "not_found", "there is no such run")
        if run["state"] in ENDED:
            return _problem(409, "run_ended", f"run {run_id} is {run['state']}")
        self.set_state(run_id, "cancelled")
        return 202, run

    def audience(self, key: str) -> dict[str, Any]:
        names = self.audiences[key]
        return {
            "key": key,
            "paused": key != "dormant",
            "destinations": [{"name": name, "connector": name} for name in names],
        }


def _run(run_id: str, audience: str, state: str, destinations: list[str]) -> dict[str, Any]:
    counts = {"add": 10, "remove": 2, "keep": 88, "rejected": {"invalid": 1}, "rejected_unnamed": 0}
    reading = {"kind": "bounds", "low": 0.59, "high": 0.64, "matched": None, "sent": 98, "definition": "bounds"}
    return {
        "id": run_id,
        "kind": "sync",
        "audience": audience,
        "state": state,
        "as_of": None,
        "requested_at": f"2026-01-01T00:00:0{len(run_id) % 10}Z",
        "requested_by": "airflow",
        "attempt": 1,
        "dry_run": False,
        "destinations": [
            {"destination": name, "connector": name, "state": state, "counts": counts, "observations": [reading]}
            for name in destinations
        ],
        "totals": {"added": 20, "removed": 4, "kept": 176, "rejected": 2, "requests": 6},
        "error": None,
        "links": {"self": f"/v1/runs/{run_id}", "events": f"/v1/runs/{run_id}/events", "page": f"/runs/{run_id}"},
    }


def _problem(status: int, code: str, detail: str) -> tuple[int, dict[str, Any]]:
    return status, {
        "type": f"https://reveil.invalid/problems/{code}",
        "title": code.replace("_", " "),
        "status": status,
        "detail": detail,
        "code": code,
        "hint": f"what to do about {code}",
        "request_id": "req-42",
    }


def _handler(fake: FakeReveil) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_args: Any) -> None:
            """Silent."""

        def handle(self) -> None:
            # A client may leave, or a test ask for a reset.
            with contextlib.suppress(OSError):
                super().handle()

        def do_GET(self) -> None:
            self._serve(None)

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(length)
            self._serve(json.loads(raw) if raw and raw != b"null" else None)

        def _serve(self, body: Any) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            with fake.lock:
                fake.seen.append(Seen(self.command, parts.path, query, dict(self.headers), body))
                fault = self._fault(parts.path)
            if fault and fault.slow_secs:
                time.sleep(fault.slow_secs)
            if fault and fault.after_doing:
                with fake.lock:
                    self._route(parts.path, query, body)
            if fault and fault.reset:
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.close_connection = True
                self.connection.close()
                return
            if fault and fault.status:
                status, document = _problem(
                    fault.status, fault.code or f"fault_{fault.status}", "a fault that was asked for"
                )
                self._answer(status, fault.body if fault.body is not None else document, fault.headers)
                return
            if parts.path.endswith("/events"):
                self._stream(parts.path.split("/")[3])
                return
            with fake.lock:
                status, document = self._route(parts.path, query, body)
            self._answer(status, document, {})

        def _fault(self, path: str) -> Fault | None:
            for fault in fake.faults:
                if fault.times > 0 and re.fullmatch(fault.pattern, f"{self.command} {path}"):
                    fault.times -= 1
                    return fault
            return None

        def _route(self, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
            if path == "/readyz":
                return 200, {"ready": True}
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return _problem(401, "unauthorized", "the token is not known")
            steps = [unquote(step) for step in path.split("/")[2:]]
            match [self.command, *steps]:
                case ["GET", "me"]:
                    return 200, fake.me
                case ["GET", "audiences"]:
                    if query:
                        return _problem(400, "invalid_request", "this list takes no parameters")
                    return 200, {"items": [fake.audience(key) for key in fake.audiences]}
                case ["GET", "audiences", key] if key in fake.audiences:
                    return 200, fake.audience(key)
                case ["POST", "audiences", key, "sync"]:
                    return fake.start(key, body or {}, self.headers.get("Idempotency-Key"))
                case ["GET", "runs"]:
                    wanted = [
                        run
                        for run in fake.runs.values()
                        if run["audience"] == query["audience"] and run["state"] == query["state"]
                    ]
                    return 200, _page(wanted, query)
                case ["GET", "runs", run_id]:
                    return fake.read(run_id)
                case ["POST", "runs", run_id, "cancel"]:
                    return fake.cancel(run_id)
                case ["GET", "observations"]:
                    since = query.get("since", "")
                    return 200, _page([each for each in fake.observations if each["as_of"] >= since], query)
                case ["POST", "roi", "project"]:
                    return 200, fake.projection
                case ["POST", "forget"]:
                    fake.forgotten.append(body)
                    return 202, {"id": f"forget-{len(fake.forgotten)}", "state": "queued"}
            return _problem(404, "not_found", "there is nothing here")

        def _answer(self, status: int, document: Any, headers: dict[str, str]) -> None:
            raw = document.encode() if isinstance(document, str) else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json" if status < 400 else "application/problem+json")
            self.send_header("Content-Length", str(len(raw)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        def _stream(self, run_id: str) -> None:
            sent = int(self.headers.get("Last-Event-ID") or 0)
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.close_connection = True
            for _ in range(200):
                with fake.lock:
                    fresh = fake.events.get(run_id, [])[sent:]
                for kind, body in fresh:
                    sent += 1
                    self._chunk(f"id: {sent}\nevent: {kind}\ndata: {json.dumps(body)}\n\n")
                    if kind == "end":
                        self._chunk("")
                        return
                self._chunk(": still here\n\n")
                time.sleep(0.02)

        def _chunk(self, text: str) -> None:
            self.wfile.write(f"{len(text):x}\r\n{text}\r\n".encode())

    return Handler


def _page(items: list[Any], query: dict[str, str]) -> dict[str, Any]:
    """Two a page, so that nobody gets away with reading the first one only."""
    start = int(query.get("cursor") or 0)
    following = start + 2
    return {"items": items[start:following], "next_cursor": str(following) if following < len(items) else None}
