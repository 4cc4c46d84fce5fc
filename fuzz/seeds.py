#!/usr/bin/env python3
"""Writes what each fuzz target begins with to a folder of its own, out of the scenarios of tests/scim-cases
and bindings.json, and a dictionary of the words in them: seeds.py [FOLDER], fuzz/corpus unless it is given.

The names of files are hashes of what they hold, so that running it again adds nothing, as libFuzzer names its own.
"""

import hashlib
import json
import re
import sys
import urllib.parse
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GENERIC = "{{([a-zA-Z0-9_]+)}}"


def write(corpus, target, content):
    folder = corpus / target
    folder.mkdir(parents=True, exist_ok=True)
    content = content if isinstance(content, bytes) else content.encode()
    (folder / hashlib.sha1(content).hexdigest()).write_bytes(content)


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from strings(one)


def plain(text):
    """Without the variables of a scenario."""
    return re.sub(GENERIC, lambda found: found.group(1), text)


def url(step):
    query = step.get("query") or ""
    text = query if isinstance(query, str) else urllib.parse.urlencode(query, safe="{}")
    return step.get("path", "") + ("?" + text if text else "")


def whole(steps):
    """A scenario as one input: ids become those of the n-th created resource."""
    names, requests = {}, []
    for step in steps:
        method = step.get("method")
        if not method or "path" not in step:
            continue
        head = f"{method} /scim/v2{url(step)}"
        for name, value in (step.get("headers") or {}).items():
            head += f"\n{name}: {value}"
        body = step.get("body")
        text = "" if body is None else body if isinstance(body, str) else json.dumps(body)
        requests.append(head + "\n\n" + text)
        for name, place in (step.get("save") or {}).items():
            if method == "POST" and place == "/id":
                names[name] = len(set(names.values())) + 1
            elif isinstance(place, str) and place.endswith("Cursor"):
                names[name] = "c"
    text = "\n%%\n".join(requests)
    return re.sub(GENERIC, lambda found: "{{%s}}" % names[found.group(1)] if found.group(1) in names else "r", text)


def step_seeds(corpus, step):
    method, path, body = step.get("method"), step.get("path", ""), step.get("body")
    query = step.get("query") or {}
    if isinstance(query, dict) and query:
        pairs = "&".join(f"{name}={value}" for name, value in query.items())
        write(corpus, "list_query", "\0" + plain(pairs))
        if "filter" in query:
            write(corpus, "filter", plain(str(query["filter"])))
    if not isinstance(body, (dict, list)):
        return
    text = plain(json.dumps(body))
    group = "/Groups" in path
    if path.endswith(".search"):
        write(corpus, "list_query", "\1" + text)
        write(corpus, "filter", plain(str(body.get("filter", ""))) if isinstance(body, dict) else "")
    elif path.endswith("/Bulk"):
        write(corpus, "bulk_body", text)
    elif method == "PATCH":
        write(corpus, "patch_body", ("\1" if group else "\0") + text)
        operations = body.get("Operations", []) if isinstance(body, dict) else []
        for operation in operations if isinstance(operations, list) else []:
            if isinstance(operation, dict) and isinstance(operation.get("path"), str):
                write(corpus, "patch_path", plain(operation["path"]))
    elif method in ("POST", "PUT"):
        variant = (2 if method == "PUT" else 0) + (1 if group else 0)
        write(corpus, "resource_body", chr(variant) + text)


def steps_of(value):
    """Every request in a scenario, however deep."""
    if isinstance(value, dict):
        if "method" in value and "path" in value:
            yield value
        else:
            for one in value.values():
                yield from steps_of(one)
    elif isinstance(value, list):
        for one in value:
            yield from steps_of(one)


def scenarios(corpus):
    for file in sorted((ROOT / "tests/scim-cases").glob("*.json")):
        document = json.loads(file.read_text())
        for case in document.get("cases", document if isinstance(document, list) else []):
            steps = list(steps_of(case.get("steps", [])))
            for step in steps:
                step_seeds(corpus, step)
            text = whole(steps)
            if steps and len(text) < 20_000:
                write(corpus, "whole_request", text)


def others(corpus):
    write(corpus, "bindings", (ROOT / "bindings.json").read_bytes())
    for file in sorted((ROOT / "docs").glob("*.md")):
        for block in re.findall(r"```json\n(.*?)```", file.read_text(), re.S):
            write(corpus, "bindings", block)
    short = [
        'W/"1", "a"', "*", "DefaultEndpointsProtocol=https;AccountName=abc;AccountKey=YWJj;EndpointSuffix=core.windows.net",
        "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/g/providers/Microsoft.RecoveryServices/vaults/v",
        "26118915-6090-4610-87e4-49d8ca9f808d", "a-token-of-more-than-32-characters", '{"userName":"a","x":[1,{}]}',
    ]
    for variant, text in enumerate(short):
        write(corpus, "short_text", chr(max(variant - 1, 0)) + text)
    guid = "11111111-1111-4111-8111-111111111111"
    scope = f"/subscriptions/{guid}/resourceGroups/Backup/providers/Microsoft.RecoveryServices/vaults/East"
    name = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{guid}"
    assignment = {
        "id": name, "name": guid, "type": "Microsoft.Authorization/roleAssignments",
        "properties": {
            "roleDefinitionId": f"/subscriptions/{guid}/providers/Microsoft.Authorization/roleDefinitions/00c29273-979b-4161-815c-10b084fb9324",
            "principalId": guid, "principalType": "User", "scope": scope, "createdOn": "2026-01-01T00:00:00.0000000Z",
        },
    }
    deny = {"value": [{"id": "/x", "name": "n", "properties": {
        "denyAssignmentName": "d", "permissions": [{"actions": ["*"], "notActions": []}], "scope": scope,
        "principals": [{"id": guid, "type": "SystemDefined"}], "excludePrincipals": [], "isSystemProtected": True}}]}
    lock = {"value": [{"id": f"{scope}/providers/Microsoft.Authorization/locks/l", "name": "l", "properties": {"level": "ReadOnly"}}]}
    definition = {"id": "/x", "name": guid, "properties": {"roleName": "R", "type": "BuiltInRole", "permissions": [
        {"actions": ["Microsoft.RecoveryServices/*"], "notActions": [], "dataActions": [], "notDataActions": []}]}}
    people = {"value": [{"@odata.type": "#microsoft.graph.user", "id": guid, "displayName": "Ana", "userPrincipalName": "a@b"}],
              "@odata.nextLink": "http://127.0.0.1:9/v1.0/next"}
    row = {"PartitionKey": "default", "RowKey": "a", "n": "1", "n@odata.type": "Edm.Int64", "b": "YQ==",
           "b@odata.type": "Edm.Binary", "odata.etag": 'W/"1"'}
    batch = (
        '--batch_1\r\nContent-Type: multipart/mixed; boundary=changes_1\r\n\r\n'
        + "".join("--changes_1\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
                  'HTTP/1.1 204 No Content\r\nETag: W/"1"\r\n\r\n\r\n' for _ in range(2))
        + "--changes_1--\r\n--batch_1--\r\n"
    )
    answers = [{"value": [assignment]}, assignment, assignment, assignment, {"value": [assignment]}, definition, deny, lock,
               people, people, row, {"value": [row]}, batch, {"error": {"code": "Conflict", "message": "m"}}]
    for call, answer in enumerate(answers):
        text = answer if isinstance(answer, str) else json.dumps(answer)
        for status in (chr(3) if call == 12 else chr(0), chr(6)):
            write(corpus, "azure_answer", chr(call) + status + text)


def words():
    """A dictionary of libFuzzer: every short text of the scenarios that looks like a word of the protocol."""
    found = {"eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le", "pr", "and", "or", "not (", "{{1}}", "{{2}}", "{{c}}",
             "\\x0a%%\\x0a", "If-Match: *", "If-None-Match: ", "bulkId:", "bulkId", "failOnErrors", "nextCursor", "cursor="}
    for file in sorted((ROOT / "tests/scim-cases").glob("*.json")):
        text = file.read_text()
        found |= set(re.findall(r'"([a-zA-Z$][a-zA-Z.$]{2,23})":', text))
        found |= set(re.findall(r"urn:ietf:params:scim:[a-zA-Z0-9:.]+", text))
    return "".join(f'"{word}"\n' for word in sorted(found))


def main():
    corpus = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "fuzz/corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    scenarios(corpus)
    others(corpus)
    (corpus / "words.dict").write_text(words())


main()
