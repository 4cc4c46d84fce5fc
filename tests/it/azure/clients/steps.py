"""The steps of clients.rs with Microsoft's clients for Python: a line for each, its number and what came of it."""

import os
import time

from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.keyvault.secrets import SecretClient
from azure.mgmt.authorization import AuthorizationManagementClient

GROUP, VAULT = os.environ["GROUP"], os.environ["VAULT"]
READER, OPERATOR = os.environ["READER"], os.environ["OPERATOR"]
JANE, JOHN = os.environ["JANE"], os.environ["JOHN"]
ONE, TWO, OTHER = os.environ["ONE"], os.environ["TWO"], os.environ["OTHER"]


class AnyToken:
    def get_token(self, *scopes, **options):
        return AccessToken("any", int(time.time()) + 3600)


arm = AuthorizationManagementClient(AnyToken(), os.environ["SUBSCRIPTION"], base_url=os.environ["ARM_URL"])
vault = SecretClient(os.environ["VAULT_URL"], AnyToken(), verify_challenge_resource=False)
assignments, definitions = arm.role_assignments, arm.role_definitions


def properties(role, person):
    return {
        "role_definition_id": f"/providers/Microsoft.Authorization/roleDefinitions/{role}",
        "principal_id": person,
        "principal_type": "User",
    }


def last(path):
    return path.rsplit("/", 1)[-1]


def shown(assignment):
    role = last(assignment.role_definition_id)
    return f"{assignment.name} {assignment.principal_type} {assignment.principal_id} {role} {last(assignment.scope)}"


def names(listed):
    return " ".join(sorted(assignment.name for assignment in listed)) or "none"


def refused(kind, call, *arguments):
    try:
        call(*arguments)
    except HttpResponseError as error:
        assert type(error) is kind, type(error)
        return f"{error.status_code} {error.error.code}"
    return "not refused"


def in_pages(pager):
    pages = [list(page) for page in pager.by_page()]
    return f"{names(sum(pages, []))} in {len(pages)} pages"


def set_and_read():
    first = vault.set_secret("token", "one", content_type="text/plain", tags={"label": "a"})
    second = vault.set_secret("token", "two", enabled=True)
    assert first.properties.content_type == "text/plain" and first.properties.tags == {"label": "a"}
    assert first.properties.version != second.properties.version
    return f"{vault.get_secret('token').value} {vault.get_secret('token', first.properties.version).value}"


def versions():
    listed = list(vault.list_properties_of_secret_versions("token"))
    assert all(version.created_on and version.version for version in listed)
    return f"{sum(version.enabled for version in listed)} enabled"


STEPS = [
    lambda: shown(assignments.create(VAULT, ONE, properties(READER, JANE))),
    lambda: shown(assignments.create(VAULT, ONE, properties(READER, JANE))),
    lambda: refused(ResourceExistsError, assignments.create, VAULT, OTHER, properties(READER, JANE)),
    lambda: refused(HttpResponseError, assignments.create, VAULT, ONE, properties(OPERATOR, JANE)),
    lambda: shown(assignments.create(GROUP, TWO, properties(OPERATOR, JOHN))),
    lambda: in_pages(assignments.list_for_scope(VAULT)),
    lambda: names(assignments.list_for_scope(GROUP, filter="atScope()")),
    lambda: names(assignments.list_for_scope(VAULT, filter=f"principalId eq '{JANE}'")),
    lambda: names(assignments.list_for_scope(VAULT, filter=f"assignedTo('{JOHN}')")),
    lambda: shown(assignments.get(VAULT, ONE)),
    lambda: shown(assignments.delete(VAULT, ONE)),
    lambda: "nothing" if assignments.delete(VAULT, ONE) is None else "something",
    lambda: refused(ResourceNotFoundError, assignments.get, VAULT, ONE),
    lambda: definitions.get(VAULT, READER).role_name,
    lambda: " ".join(role.name for role in definitions.list(VAULT, filter="roleName eq 'Backup Operator'")),
    set_and_read,
    versions,
    lambda: refused(ResourceNotFoundError, vault.get_secret, "nothing"),
]

for number, step in enumerate(STEPS, 1):
    print(number, step(), flush=True)
