"""The synchronous client: what operators and sensors use in a worker."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import requests
from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_reveil.connection_form import HIDDEN_FIELDS, PLACEHOLDERS, RELABELING, form_widgets
from airflow_provider_reveil.errors import ReveilApiError
from airflow_provider_reveil.events import EventParser, RunEvent
from airflow_provider_reveil.hooks import calls
from airflow_provider_reveil.hooks.settings import ConnectionSettings
from airflow_provider_reveil.runs import Run

MAX_PAGES = 50


class ReveilHook(BaseHook):
    """Speaks to a Réveil daemon.

    Requests are repeated after a 429, a 5xx or a broken connection, honouring `Retry-After`; every one of them may be,
    since those that start something carry an idempotency key. A refusal is raised as `ReveilApiError`.

    :param reveil_conn_id: the Airflow connection of type `reveil`.
    """

    conn_name_attr = "reveil_conn_id"
    default_conn_name = "reveil_default"
    conn_type = "reveil"
    hook_name = "Réveil"

    def __init__(self, reveil_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reveil_conn_id = reveil_conn_id

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        return form_widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        return {"hidden_fields": HIDDEN_FIELDS, "relabeling": RELABELING, "placeholders": PLACEHOLDERS}

    @cached_property
    def settings(self) -> ConnectionSettings:
        settings = ConnectionSettings.from_connection(self.get_connection(self.reveil_conn_id))
        if settings.clear_text:
            self.log.warning(
                "Connection %s sends its token unencrypted to %s: use https", self.reveil_conn_id, settings.host
            )
        return settings

    @cached_property
    def _session(self) -> requests.Session:
        session = requests.Session()
        session.headers.update(self.settings.headers)
        session.verify = self.settings.verify
        # With an auth of its own the session does not look into ~/.netrc, which would replace the token.
        session.auth = _keep_headers
        return session

    def get_conn(self) -> requests.Session:
        """The session, for what this hook has no method for; addresses are `hook.settings.url("/v1/…")`."""
        return self._session

    def close(self) -> None:
        if "_session" in self.__dict__:
            self._session.close()

    # Requests

    def send(self, call: calls.Call) -> Any:
        """Carries one request and gives the decoded answer.

        # Raises
        ReveilApiError: refused, or not reachable after the connection's retries.
        """
        attempt = 0
        while True:
            headers: Mapping[str, str] = {}
            try:
                response = self._request(call)
                if response.ok and not response.is_redirect:
                    return _decoded(response)
                headers = response.headers
                error = ReveilApiError.from_problem(call.operation, response.status_code, _decoded(response), headers)
            except requests.RequestException as cause:
                error = ReveilApiError.unreachable(call.operation, self.settings.base_url, cause)
            wait = self.settings.retry.wait_secs(attempt, error, headers)
            if wait is None:
                # The network error's own text quotes the request, so it does not travel along.
                raise error from None
            self.log.warning("%s. Trying again in %.1f s", str(error).splitlines()[0], wait)
            time.sleep(wait)
            attempt += 1

    def _request(self, call: calls.Call, **kwargs: Any) -> requests.Response:
        kwargs.setdefault("timeout", self.settings.timeout_secs)
        # A redirect could carry the token to another host.
        return self._session.request(
            call.method,
            self.settings.url(call.path),
            params=dict(call.query),
            json=call.body,
            headers={**call.headers, **kwargs.pop("headers", {})},
            allow_redirects=False,
            **kwargs,
        )

    # The API

    def me(self) -> dict[str, Any]:
        return self.send(calls.me())

    def audiences(self) -> list[dict[str, Any]]:
        """Every audience that the token may see."""
        return self.send(calls.audiences())["items"]

    def audience(self, key: str) -> dict[str, Any]:
        return self.send(calls.audience(key))

    def start_sync(self, key: str, options: Mapping[str, Any], idempotency_key: str) -> Run:
        """Asks for a run; with a key used before, gives the run asked for then, as it is now."""
        asked = Run(self.send(calls.start_sync(key, options, idempotency_key)))
        # The answer to a repeated key is the one recorded at the time.
        return self.run(asked.id)

    def run(self, run_id: str) -> Run:
        return Run(self.send(calls.run(run_id)))

    def active_run(self, key: str) -> Run | None:
        """The audience's running sync, or the one that is next in the queue."""
        for state in ("running", "queued"):
            found = [Run(item) for item in self.send(calls.runs(key, state))["items"]]
            syncs = [run for run in found if run.is_sync]
            if syncs:
                return min(syncs, key=lambda run: run.requested_at)
        return None

    def cancel_unsent(self, run_id: str) -> bool:
        """Cancels a run that still sends. One that waits for a verdict has nothing left to stop.

        Gives whether the run was cancelled by this call.
        """
        if not self.run(run_id).still_sends:
            return False
        try:
            self.send(calls.cancel(run_id))
        except ReveilApiError as error:
            if error.status != 409:
                raise
            return False
        return True

    def observations(self, key: str, since: str | None = None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = self.send(calls.observations(key, since, cursor))
            found.extend(page["items"])
            cursor = page.get("next_cursor")
            if not cursor:
                break
        return found

    def project_roi(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return self.send(calls.project_roi(options))

    def forget(
        self, identifiers: Sequence[Mapping[str, str]], reference: str | None, idempotency_key: str
    ) -> dict[str, Any]:
        return self.send(calls.forget(identifiers, reference, idempotency_key))

    def follow_run(self, run_id: str, after_seq: int, for_secs: float) -> Iterator[RunEvent]:
        """A run's events as they come, for about `for_secs`; ends early when the run is worth another look.

        Events only tell a person more. Where they cannot be had the time is slept through, and the run's state, which
        decides, is asked for as ever.
        """
        until = time.monotonic() + for_secs
        try:
            for event in self._events(run_id, after_seq, until):
                yield event
                if event.settles:
                    return
        except requests.RequestException as cause:
            self.log.debug("No events of run %s for now (%s)", run_id, type(cause).__name__)
        rest = until - time.monotonic()
        if rest > 0:
            time.sleep(rest)

    def _events(self, run_id: str, after_seq: int, until: float) -> Iterator[RunEvent]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after_seq)}
        timeout = (self.settings.timeout_secs, max(0.05, until - time.monotonic()))
        with self._request(calls.run_events(run_id), headers=headers, stream=True, timeout=timeout) as response:
            if response.status_code != 200:
                return
            parser = EventParser()
            for line in response.iter_lines(chunk_size=None, decode_unicode=False):
                if event := parser.feed(line.decode("utf-8", "replace")):
                    yield event
                if time.monotonic() >= until:
                    return

    # The form's test button

    def test_connection(self) -> tuple[bool, str]:
        """Whether the daemon answers, is ready, and knows the token."""
        try:
            me = self.me()
            self.send(calls.ready())
        except ValueError as fault:
            return False, str(fault)
        except ReveilApiError as error:
            return False, str(error)
        audiences = me.get("audiences")
        scope = "every audience" if audiences is None else f"the audiences {', '.join(audiences) or '(none)'}"
        known = f"{me['name']!r} ({me['role']}), for {scope}"
        return True, f"Réveil at {self.settings.base_url} knows this token as {known}"


def _keep_headers(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _decoded(response: requests.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None
