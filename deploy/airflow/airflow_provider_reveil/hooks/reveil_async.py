"""The asynchronous client: what triggers use in a triggerer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

import aiohttp
from airflow.providers.common.compat.connection import get_async_connection

from airflow_provider_reveil.errors import ReveilApiError
from airflow_provider_reveil.events import EventParser, RunEvent
from airflow_provider_reveil.hooks import calls
from airflow_provider_reveil.hooks.reveil import MAX_PAGES, ReveilHook
from airflow_provider_reveil.hooks.settings import ConnectionSettings
from airflow_provider_reveil.runs import Run

log = logging.getLogger(__name__)
NETWORK_FAILURES = (aiohttp.ClientError, asyncio.TimeoutError, OSError)


class ReveilAsyncHook:
    """The same rules as `ReveilHook`, without ever blocking the triggerer's loop. Use it with `async with`."""

    def __init__(self, reveil_conn_id: str = ReveilHook.default_conn_name) -> None:
        self.reveil_conn_id = reveil_conn_id

    async def __aenter__(self) -> ReveilAsyncHook:
        self.settings = ConnectionSettings.from_connection(await get_async_connection(self.reveil_conn_id))
        self._session = aiohttp.ClientSession(
            headers=self.settings.headers,
            timeout=aiohttp.ClientTimeout(total=self.settings.timeout_secs),
            connector=aiohttp.TCPConnector(ssl=self.settings.ssl_context()),
        )
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._session.close()

    async def send(self, call: calls.Call) -> Any:
        """Carries one request and gives the decoded answer; raises `ReveilApiError`."""
        attempt = 0
        while True:
            headers: Mapping[str, str] = {}
            try:
                async with self._request(call) as response:
                    answer = await _decoded(response)
                    if 200 <= response.status < 300:
                        return answer
                    headers = response.headers
                    error = ReveilApiError.from_problem(call.operation, response.status, answer, headers)
            except NETWORK_FAILURES as cause:
                error = ReveilApiError.unreachable(call.operation, self.settings.base_url, cause)
            wait = self.settings.retry.wait_secs(attempt, error, headers)
            if wait is None:
                raise error from None
            log.warning("%s. Trying again in %.1f s", str(error).splitlines()[0], wait)
            await asyncio.sleep(wait)
            attempt += 1

    def _request(self, call: calls.Call, **kwargs: Any) -> Any:
        return self._session.request(
            call.method,
            self.settings.url(call.path),
            params=dict(call.query),
            json=call.body,
            headers={**call.headers, **kwargs.pop("headers", {})},
            allow_redirects=False,
            **kwargs,
        )

    async def run(self, run_id: str) -> Run:
        return Run(await self.send(calls.run(run_id)))

    async def audience(self, key: str) -> dict[str, Any]:
        return await self.send(calls.audience(key))

    async def cancel_unsent(self, run_id: str) -> bool:
        """See `ReveilHook.cancel_unsent`."""
        if not (await self.run(run_id)).still_sends:
            return False
        try:
            await self.send(calls.cancel(run_id))
        except ReveilApiError as error:
            if error.status != 409:
                raise
            return False
        return True

    async def observations(self, key: str, since: str | None = None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = await self.send(calls.observations(key, since, cursor))
            found.extend(page["items"])
            cursor = page.get("next_cursor")
            if not cursor:
                break
        return found

    async def follow_run(self, run_id: str, after_seq: int, for_secs: float) -> AsyncIterator[RunEvent]:
        """See `ReveilHook.follow_run`."""
        until = time.monotonic() + for_secs
        try:
            async with aclosing(self._events(run_id, after_seq, until)) as events:
                async for event in events:
                    yield event
                    if event.settles:
                        return
        except NETWORK_FAILURES as cause:
            log.debug("No events of run %s for now (%s)", run_id, type(cause).__name__)
        rest = until - time.monotonic()
        if rest > 0:
            await asyncio.sleep(rest)

    async def _events(self, run_id: str, after_seq: int, until: float) -> AsyncGenerator[RunEvent, None]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after_seq)}
        timeout = aiohttp.ClientTimeout(total=max(0.05, until - time.monotonic()))
        async with self._request(calls.run_events(run_id), headers=headers, timeout=timeout) as response:
            if response.status != 200:
                return
            parser = EventParser()
            async for line in response.content:
                if event := parser.feed(line.decode("utf-8", "replace").rstrip("\r\n")):
                    yield event


async def _decoded(response: aiohttp.ClientResponse) -> Any:
    try:
        return await response.json(content_type=None)
    except ValueError:
        return None
