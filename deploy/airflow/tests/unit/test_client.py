"""The synchronous client and the connection behind it."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from fake_api import TOKEN

from airflow_provider_reveil.errors import ReveilApiError
from airflow_provider_reveil.hooks import calls
from airflow_provider_reveil.hooks.retry import RetryPolicy, parse_retry_after
from airflow_provider_reveil.hooks.reveil import ReveilHook
from airflow_provider_reveil.hooks.settings import ConnectionSettings


def test_a_repeated_key_gives_the_run_as_it_is_now(fake):
    hook = ReveilHook()
    first = hook.start_sync("dormant", {}, "k")
    fake.set_state(first.id, "done")
    again = hook.start_sync("dormant", {}, "k")
    assert (again.id, again.state) == (first.id, "done")
    assert len(fake.runs) == 1


def test_names_travel_in_the_path_unharmed():
    assert calls.run("a/b?c").path == "/v1/runs/a%2Fb%3Fc"
    assert calls.start_sync("été", {}, "k").path == "/v1/audiences/%C3%A9t%C3%A9/sync"


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "headers": {"Retry-After": "0"}},
        {"status": 503},
        {"status": 409, "code": "key_in_use", "headers": {"Retry-After": "0"}},
        {"status": 502, "body": "<html>a proxy speaks</html>"},
        {"reset": True},
        {"reset": True, "after_doing": True},
    ],
    ids=["429", "503", "key in use", "proxy", "reset", "answer lost"],
)
def test_a_passing_fault_is_passed_over_and_starts_nothing_twice(fake, fault):
    fake.fail("POST .*/sync", **fault, times=2)
    ReveilHook().start_sync("dormant", {"as_of": "2026-01-01T00:00:00Z"}, "k")
    assert len(fake.runs) == 1
    assert len(fake.requests("POST .*/sync")) == 3


def test_a_slow_answer_is_asked_for_again(fake, connection):
    connection(extra={"timeout_secs": 0.2, "retries": 1})
    fake.fail("GET /v1/me", slow_secs=0.6)
    assert ReveilHook().me()["name"] == "airflow"


def test_retry_after_is_waited_out(fake):
    fake.fail("GET /v1/me", status=429, headers={"Retry-After": "1"})
    begin = time.monotonic()
    ReveilHook().me()
    assert time.monotonic() - begin >= 1


def test_a_long_retry_after_is_left_to_airflow(fake):
    fake.fail("GET /v1/me", status=503, headers={"Retry-After": "3600"})
    with pytest.raises(ReveilApiError) as raised:
        ReveilHook().me()
    assert raised.value.temporary
    assert len(fake.requests("GET /v1/me")) == 1


def test_retries_end(fake):
    fake.fail("GET /v1/me", status=503, times=100)
    with pytest.raises(ReveilApiError):
        ReveilHook().me()
    assert len(fake.requests("GET /v1/me")) == 4


def test_a_refusal_is_typed_and_not_repeated(fake):
    with pytest.raises(ReveilApiError) as raised:
        ReveilHook().start_sync("nobody", {}, "k")
    error = raised.value
    assert (error.status, error.code, error.request_id) == (404, "not_found", "req-42")
    assert error.hint == "what to do about not_found"
    assert not error.temporary
    assert "req-42" in str(error) and "hint: what to do" in str(error)
    assert len(fake.requests("POST .*")) == 1


def test_a_daemon_that_is_gone_is_named_without_quoting_the_request(fake):
    fake.close()
    with pytest.raises(ReveilApiError) as raised:
        ReveilHook().me()
    assert raised.value.code == "unreachable" and raised.value.temporary
    assert fake.url in str(raised.value)
    assert raised.value.__cause__ is None and raised.value.__suppress_context__


def test_a_redirect_is_not_followed_with_the_token(fake):
    fake.fail("GET /v1/me", status=307, headers={"Location": "http://127.0.0.1:1/elsewhere"})
    with pytest.raises(ReveilApiError) as raised:
        ReveilHook().me()
    assert raised.value.status == 307


def test_netrc_does_not_replace_the_token(fake, monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    assert ReveilHook().me()["role"] == "operator"


def test_every_page_is_read(fake):
    for day in range(1, 6):
        fake.observe("meta", f"2026-01-0{day}T00:00:00Z")
    assert len(ReveilHook().observations("dormant")) == 5
    assert len(ReveilHook().observations("dormant", "2026-01-03T00:00:00Z")) == 3
    assert {item["key"] for item in ReveilHook().audiences()} == set(fake.audiences)


def test_only_a_run_that_still_sends_is_cancelled(fake):
    hook = ReveilHook()
    for state, cancelled in [("queued", True), ("running", True), ("pending", False), ("done", False)]:
        run = fake.add_run("dormant", state)
        assert hook.cancel_unsent(run["id"]) is cancelled
        assert fake.runs[run["id"]]["state"] == ("cancelled" if cancelled else state)


def test_a_run_that_ends_under_the_cancel_is_no_fault(fake):
    run = fake.add_run("dormant", "running")
    fake.fail("POST .*/cancel", status=409)
    assert ReveilHook().cancel_unsent(run["id"]) is False


def test_events_come_in_order_once_and_end_with_the_run(fake):
    run = fake.add_run("dormant", "running")
    fake.add_event(run["id"], "progress", destination="meta", sent=5, of=10)
    hook = ReveilHook()
    first = list(hook.follow_run(run["id"], 0, 0.2))
    assert [event.kind for event in first] == ["state", "progress"]
    fake.set_state(run["id"], "done")
    begin = time.monotonic()
    rest = list(hook.follow_run(run["id"], first[-1].seq, 30))
    assert [event.kind for event in rest] == ["state"]
    assert [event.kind for event in hook.follow_run(run["id"], rest[-1].seq, 30)] == ["end"]
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("fault", [{"status": 404}, {"reset": True}, {"slow_secs": 1}])
def test_without_events_the_time_is_slept_through(fake, fault):
    run = fake.add_run("dormant", "running")
    fake.fail("GET .*/events", **fault)
    begin = time.monotonic()
    assert list(ReveilHook().follow_run(run["id"], 0, 0.3)) == []
    assert 0.25 <= time.monotonic() - begin < 2


# The connection


def test_the_test_button(fake, connection):
    assert ReveilHook().test_connection() == (
        True,
        f"Réveil at {fake.url} knows this token as 'airflow' (operator), for every audience",
    )
    fake.me["audiences"] = ["dormant"]
    assert ReveilHook().test_connection()[1].endswith("for the audiences dormant")
    connection(password="rvl_wrong")
    ok, text = ReveilHook().test_connection()
    assert not ok and "401 unauthorized" in text and "rvl_wrong" not in text
    connection(password=None)
    ok, text = ReveilHook().test_connection()
    assert not ok and "has no token" in text
    connection()
    fake.fail("GET /readyz", status=503, times=9)
    ok, text = ReveilHook().test_connection()
    assert not ok and "503" in text


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"host": ""}, "has no URL"),
        ({"host": "ftp://x"}, "must look like"),
        ({"host": "https://rvl_secret@x"}, "belongs in the field Token"),
        ({"extra": {"timeout_secs": "soon"}}, "timeout_secs must be a number"),
        ({"extra": {"retries": -1}}, "must not be negative"),
    ],
)
def test_a_wrong_connection_says_which_field(connection, changes, fault):
    connection(**changes)
    with pytest.raises(ValueError, match=fault) as raised:
        _ = ReveilHook().settings
    assert "rvl_secret" not in str(raised.value)


def test_forms_of_the_url(connection):
    for changes, url in [
        ({"host": "https://reveil.example.com/"}, "https://reveil.example.com"),
        ({"host": "reveil.example.com", "port": 8750}, "https://reveil.example.com:8750"),
        ({"host": "reveil.example.com", "schema": "http"}, "http://reveil.example.com"),
        ({"host": "https://example.com/reveil/"}, "https://example.com/reveil"),
    ]:
        connection(**changes)
        assert ReveilHook().settings.base_url == url


def test_trust(connection):
    for extra, verify in [
        ({}, True),
        ({"verify_ssl": False}, False),
        ({"verify_ssl": "false", "ca_bundle": "/x.pem"}, False),
        ({"verify_ssl": True, "ca_bundle": "/x.pem"}, "/x.pem"),
    ]:
        connection(extra=extra)
        assert ReveilHook().settings.verify == verify
        assert ReveilHook().get_conn().verify == verify


def test_a_token_in_clear_text_over_a_network_is_warned_of(connection, log):
    connection(host="http://reveil.internal:8750")
    _ = ReveilHook().settings
    assert "unencrypted to reveil.internal:8750" in log.text()


def test_settings_do_not_print_the_token():
    assert TOKEN not in repr(ConnectionSettings("https://x", TOKEN))


# The retry rule


def answer(status, code="x"):
    return ReveilApiError("ask", code=code, status=status)


def test_the_retry_rule():
    policy = RetryPolicy(retries=2)
    for final in (answer(404), answer(501), answer(409, "run_ended")):
        assert policy.wait_secs(0, final, {"Retry-After": "1"}) is None
    assert policy.wait_secs(2, answer(503), {}) is None
    assert policy.wait_secs(0, answer(None), {}) is not None
    assert policy.wait_secs(0, answer(429), {"Retry-After": "7"}) == 7
    assert policy.wait_secs(0, answer(409, "key_in_use"), {"Retry-After": "1"}) == 1
    assert policy.wait_secs(0, answer(429), {"Retry-After": "61"}) is None


def test_retry_after_in_both_forms():
    assert parse_retry_after("2.5") == 2.5
    assert parse_retry_after("-1") == 0
    assert parse_retry_after("soon") is None
    soon = datetime.now(timezone.utc) + timedelta(seconds=20)
    assert 17 < parse_retry_after(format_datetime(soon, usegmt=True)) <= 20


def test_logs_tell_of_retries(fake, log):
    fake.fail("GET /v1/me", status=503)
    ReveilHook().me()
    told = log.text()
    assert "Could not ask whose token this is" in told and "Trying again" in told
