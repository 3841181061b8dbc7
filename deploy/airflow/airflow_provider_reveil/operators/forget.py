"""Passes erasure requests on to Réveil."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseOperator

from airflow_provider_reveil.errors import ReveilApiError, ReveilPermanentError
from airflow_provider_reveil.hooks.reveil import ReveilHook

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class ReveilForgetOperator(BaseOperator):
    """Has persons removed from every audience they were ever sent to. Needs a token of role admin.

    The identifiers come from a callable and not from a field: Airflow keeps rendered fields and XComs in its database,
    where an address to be erased must not end up. Only the request's id is given to XCom; nothing is logged of whom.

    :param identifiers: called in the worker; gives `{"kind": "email" | "phone" | "customer_id", "value": …}` each, with
        `country` for a national phone number. An empty list skips the task.
    :param reference: your own name for the request, without personal data; by default DAG, run and task.
    :param reveil_conn_id: the Airflow connection of type `reveil`.
    """

    template_fields: Sequence[str] = ("reveil_conn_id", "reference")
    ui_color = "#f4dfe3"

    def __init__(
        self,
        *,
        identifiers: Callable[[], Sequence[Mapping[str, str]]],
        reference: str = "{{ dag.dag_id }} {{ run_id }} {{ task.task_id }}",
        reveil_conn_id: str = ReveilHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.identifiers = identifiers
        self.reference = reference
        self.reveil_conn_id = reveil_conn_id

    @cached_property
    def hook(self) -> ReveilHook:
        return ReveilHook(self.reveil_conn_id)

    def execute(self, context: Context) -> str:
        identifiers = list(self.identifiers())
        if not identifiers:
            raise AirflowSkipException("Nobody asked to be forgotten")
        try:
            request = self.hook.forget(identifiers, self.reference, self._key(context["ti"], identifiers))
        except ReveilApiError as error:
            raise (error if error.temporary else ReveilPermanentError(str(error))) from None
        self.log.info("Erasure request %s with %d identifiers is %s", request["id"], len(identifiers), request["state"])
        return str(request["id"])

    def _key(self, task_instance: Any, identifiers: Sequence[Mapping[str, str]]) -> str:
        """One request for a set of identifiers, however often the task is tried.

        Keyed with the token: a bare digest of addresses can be guessed back.
        """
        place = (task_instance.dag_id, task_instance.run_id, task_instance.task_id, task_instance.map_index)
        told = repr((place, sorted(sorted(one.items()) for one in identifiers)))
        digest = hmac.new(self.hook.settings.token.encode(), told.encode(), hashlib.sha256).hexdigest()
        return f"airflow-{digest[:48]}"
