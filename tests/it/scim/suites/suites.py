"""Runs the conformance suites and clients of others against one service, and prints a line of JSON for each of their checks.

BASE_URL and TOKEN name the service. HOME is a folder that may be written to: one client keeps its settings there.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

BASE_URL, TOKEN = os.environ["BASE_URL"], os.environ["TOKEN"]
os.environ["SCIM_CLI_HEADERS"] = f"Authorization: Bearer {TOKEN}"
CLICK = {"scim2": "from scim2_cli import cli; cli()", "scim-sanity": "from scim_sanity.cli import main; main()"}
SIMULATED = "from scim_sim.cli import main; main()"


def say(suite, check, result, why=""):
    print(json.dumps({"suite": suite, "check": check, "result": result, "why": why}), flush=True)


def run(program, *arguments, text=""):
    command = [sys.executable, "-c", program, *arguments]
    # Standard input that is not a terminal is read where it holds something.
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=300)


def scim2_tester():
    """`scim2 test` prints the name of each check with its result, and the reason below it."""
    ended = run(CLICK["scim2"], "--url", BASE_URL, "test")
    check = None
    for line in [*ended.stdout.splitlines(), ""]:
        status, _, title = line.partition(" ")
        if check and line.startswith("  "):
            check = (*check[:2], line.strip())
        else:
            if check:
                say("scim2-tester", check[1], check[0], check[2])
            results = {"SUCCESS": "passed", "SKIPPED": "skipped", "ERROR": "failed", "CRITICAL": "failed"}
            known = results.get(status, "failed" if status.isupper() else None)
            check = (known, title, "") if known else None
    if ended.stderr:
        say("scim2-tester", "runs to its end", "failed", ended.stderr[-2000:])


def scim_sanity():
    arguments = ["probe", BASE_URL, "--token", TOKEN, "--strict", "--i-accept-side-effects", "--json-output"]
    ended = run(CLICK["scim-sanity"], *arguments)
    results = {"pass": "passed", "skip": "skipped"}
    for check in json.loads(ended.stdout)["results"]:
        result = results.get(check["status"], "failed")
        say("scim-sanity", check["name"], result, str(check.get("message", "")))


def scim2_cli():
    def step(check, *arguments, text="", expect=""):
        ended = run(CLICK["scim2"], "--url", BASE_URL, *arguments, text=text)
        good = ended.returncode == 0 and expect in ended.stdout
        say("scim2-cli", check, "passed" if good else "failed", "" if good else ended.stdout + ended.stderr)
        return json.loads(ended.stdout) if good and ended.stdout.strip() else {}

    made = step("create user", "create", "user", "--user-name", "cli@contoso.example", expect="cli@contoso.example")
    user = made.get("id", "none")
    step("query user", "query", "user", user, expect=user)
    step("modify user", "modify", "user", user, "replace", "displayName", "Cli", expect='"displayName": "Cli"')
    schemas = ["urn:ietf:params:scim:schemas:core:2.0:User"]
    replaced = json.dumps({"schemas": schemas, "id": user, "userName": "cli@contoso.example", "title": "replaced"})
    step("replace user", "replace", "user", text=replaced, expect='"title": "replaced"')
    members = json.dumps([{"value": user}])
    step("create group", "create", "group", "--display-name", "cli", "--members", members, expect=user)
    step("search user", "search", "user", "--filter", 'userName eq "CLI@contoso.example"', expect=user)
    step("search everything", "search", "--filter", 'id eq "' + user + '"', expect=user)
    schemas = ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"]
    operation = {"method": "DELETE", "path": f"/Users/{user}"}
    bulk = json.dumps({"schemas": schemas, "Operations": [operation]})
    step("delete in bulk", "bulk", text=bulk, expect="204")
    step("query users", "query", "user", "--filter", 'userName eq "cli@contoso.example"', expect='"totalResults": 0')


def scim_sim():
    """A provider that pushes. It prints what it did, with the id."""
    settings = {"SCIM_BASE_URL": BASE_URL, "SCIM_AUTH_TOKEN": TOKEN}
    Path(os.environ["HOME"], ".scim_config.json").write_text(json.dumps(settings))

    def step(*arguments, expect):
        said = run(SIMULATED, *arguments).stdout
        good = expect in said and "❌" not in said
        say("scim-sim", arguments[0], "passed" if good else "failed", "" if good else said)
        return said.split()[-1] if good else "none"

    user = step("add-user", expect="created")
    group = step("create-group", "pushed", expect="created")
    step("add-to-group", user, group, expect="added")
    step("show", expect=user)
    step("remove-from-group", user, group, expect="removed")
    step("remove-user", user, expect="deleted")
    step("delete-group", group, expect="deleted")


for suite in (scim2_tester, scim_sanity, scim2_cli, scim_sim):
    suite()
