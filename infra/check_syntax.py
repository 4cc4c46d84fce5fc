#!/usr/bin/env python3
"""Reads everything that is deployed and says what is wrong with it, a line each. It needs no Bicep compiler:
tree-sitter gives the syntax, and names are checked over its tree. Where there is a compiler, the tests ask it too.

    check_syntax.py              checks the checkout
    check_syntax.py --self-test  shows that each kind of mistake is found

Needs tree-sitter, tree-sitter-bicep and PyYAML; .ci/run installs them, with their versions, under target/.
"""

import json
import pathlib
import re
import sys
import tempfile

import tree_sitter
import tree_sitter_bicep
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bicep.language()))

# Functions of Bicep that may be called here. One more is one more line; a misspelt one is found.
FUNCTIONS = set(
    """any contains description allowed minLength maxLength minValue maxValue metadata batchSize deployment empty endsWith
    environment filter guid int items join length loadJsonContent loadTextContent map replace resourceGroup resourceId split
    startsWith string subscription subscriptionResourceId substring take tenant toLower trim union uniqueString""".split()
)
DECLARATIONS = {
    "parameter_declaration",
    "variable_declaration",
    "resource_declaration",
    "module_declaration",
}
# In the name of an output or of a parameter that is not marked @secure.
SECRET = re.compile(r"secret|passw|token|credential|connection|(^|_)key$|accountKey|sas", re.IGNORECASE)
# Names that look like it and are not: ids of principals, and addresses.
NOT_SECRET = {"tokenAdminPrincipalId", "tokenAdminPrincipalType"}
# The only versions with what is set here; no stable one has it.
PREVIEWS = {"Microsoft.Insights/diagnosticSettings@2021-05-01-preview"}
# Functions that would put a key into the deployment's history.
KEYS = re.compile(r"\blist(Keys|AccountSas|ServiceSas|Secrets|Credentials)?\s*\(|\.list[A-Z]\w*\(")


class Bicep:
    """One parsed template."""

    def __init__(self, path):
        self.path = path
        self.source = path.read_bytes()
        self.tree = PARSER.parse(self.source).root_node
        self.findings = []
        self.names = {kind: {} for kind in DECLARATIONS}
        self.outputs = {}
        for node in self.tree.named_children:
            name = next((text(child) for child in node.named_children if child.type == "identifier"), None)
            if node.type in DECLARATIONS:
                self.names[node.type][name] = node
            elif node.type == "output_declaration":
                self.outputs[name] = node

    def find(self, node, what):
        self.findings.append((self.path, node.start_point[0] + 1, what))

    def parameters(self):
        return self.names["parameter_declaration"]

    def required(self):
        """Parameters without a default: their declaration is a name and a type."""
        return {name for name, node in self.parameters().items() if len(node.named_children) == 2}

    def declared(self):
        return set().union(*self.names.values())


def text(node):
    return node.text.decode()


def walk(node):
    yield node
    for child in node.children:
        yield from walk(child)


def literal(node):
    """The text of a string that has no insertion."""
    return text(node)[1:-1] if node.type == "string" else None


def properties(node):
    """The properties of an object, by name."""
    if node is None or node.type != "object":
        return {}
    pairs = (child.named_children for child in node.named_children if child.type == "object_property")
    return {text(pair[0]).strip("'"): pair[1] for pair in pairs if len(pair) == 2}


def body(declaration):
    """The object of a resource or a module, below a loop or a condition."""
    return next((node for node in walk(declaration) if node.type == "object"), None)


def check_template(bicep):
    for node in walk(bicep.tree):
        if node.is_error or node.is_missing:
            bicep.find(node, f"syntax: {text(node)[:60]!r}")
    if bicep.findings:
        return
    if KEYS.search(bicep.source.decode()):
        bicep.find(bicep.tree, "a key or a signature is read: it would stay in the history of the deployment")
    check_names(bicep)
    check_files(bicep)
    for kind in ("resource_declaration", "module_declaration"):
        for name, node in bicep.names[kind].items():
            (check_resource if kind == "resource_declaration" else check_module)(bicep, name, node)
    check_secrets(bicep)


def check_names(bicep):
    used = set()
    visit_names(bicep, bicep.tree, bicep.declared(), used)
    for kind in ("parameter_declaration", "variable_declaration"):
        for name, node in bicep.names[kind].items():
            if name not in used:
                bicep.find(node, f"{name} is never used")


def visit_names(bicep, node, known, used):
    """Every name in an expression is declared. A lambda's variable is known in the call that it is an argument of:
    the grammar binds a member behind a lambda's body to the lambda itself."""
    children = list(node.named_children)
    if node.type in ("arguments", "for_statement"):
        own = [child for child in walk(node) if child.type == "lambda_expression"]
        own = own if node.type == "arguments" else [node]
        known = known | {text(each.named_children[0]) for each in own}
    if node.type == "call_expression":
        function = children.pop(0)
        if function.type == "identifier" and text(function) not in FUNCTIONS:
            bicep.find(function, f"there is no function {text(function)}")
    elif node.type in DECLARATIONS | {"output_declaration", "object_property", "lambda_expression", "for_statement"}:
        if children and children[0].type in ("identifier", "property_identifier"):
            children.pop(0)
    elif node.type == "identifier":
        used.add(text(node))
        if text(node) not in known:
            bicep.find(node, f"nothing is named {text(node)}")
    for child in children:
        if child.type != "type":
            visit_names(bicep, child, known, used)


def check_files(bicep):
    for node in walk(bicep.tree):
        if node.type != "call_expression" or text(node.named_children[0]) not in ("loadJsonContent", "loadTextContent"):
            continue
        path = literal(node.named_children[1].named_children[0])
        if path is None or not (bicep.path.parent / path).is_file():
            bicep.find(node, f"there is no file {path}")
        elif path.endswith(".json"):
            json.loads((bicep.path.parent / path).read_text(encoding="utf-8"))


def check_resource(bicep, name, node):
    kind = literal(node.named_children[1])
    if kind not in PREVIEWS and not re.fullmatch(r"Microsoft\.\w+(/\w+)+@\d{4}-\d\d-\d\d", kind or ""):
        bicep.find(node, f"{name}: {kind} is not a type with a pinned, stable version")
        return
    given = properties(body(node))
    if kind.startswith("Microsoft.Authorization/roleDefinitions@"):
        if not text(given.get("name", node)).startswith("guid("):
            bicep.find(node, f"{name}: the name of a role definition comes from guid()")
        if "*" in text(node):
            bicep.find(node, f"{name}: a role of ours names each action")
    if kind.startswith("Microsoft.Authorization/roleAssignments@"):
        if not text(given.get("name", node)).startswith("guid("):
            bicep.find(node, f"{name}: the name of a role assignment comes from guid()")
        if "principalType" not in properties(given.get("properties")):
            bicep.find(node, f"{name}: without principalType a new principal is not found")


def check_module(bicep, name, node):
    path = literal(node.named_children[1])
    target = bicep.path.parent / (path or "")
    if path is None or ":" in path or not target.is_file():
        bicep.find(node, f"{name}: there is no module {path} in this repository")
        return
    module = Bicep(target)
    given = properties(properties(body(node)).get("params"))
    for missing in sorted(module.required() - set(given)):
        bicep.find(node, f"{name}: {path} wants the parameter {missing}")
    for unknown in sorted(set(given) - set(module.parameters())):
        bicep.find(given[unknown], f"{name}: {path} has no parameter {unknown}")
    for output in re.findall(rf"\b{name}\.outputs\.(\w+)".encode(), bicep.source):
        if output.decode() not in module.outputs:
            bicep.find(node, f"{name}: {path} has no output {output.decode()}")


def check_secrets(bicep):
    for name, node in bicep.outputs.items():
        if SECRET.search(name):
            bicep.find(node, f"output {name} sounds like a secret: it would be readable in the deployment")
    for name, node in bicep.parameters().items():
        if SECRET.search(name) and name not in NOT_SECRET:
            bicep.find(node, f"parameter {name} sounds like a secret: secrets are put into the vault by hand")


def check_parameters(root):
    """main.parameters.json names parameters that exist, and gives those without a default."""
    path = root / "infra/main.parameters.json"
    given = json.loads(path.read_text(encoding="utf-8"))["parameters"]
    main = Bicep(root / "infra/main.bicep")
    for unknown in sorted(set(given) - set(main.parameters())):
        yield path, 1, f"main.bicep has no parameter {unknown}"
    for missing in sorted(main.required() - set(given)):
        yield path, 1, f"main.bicep wants the parameter {missing}"


def check_azure_yaml(root):
    path = root / "azure.yaml"
    project = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name, service in project["services"].items():
        if service.get("language") == "custom" and not service.get("dist"):
            yield path, 1, f"service {name}: azd wants dist with language custom"
        tag = f"'azd-service-name': '{name}'"
        if not any(tag in each.read_text(encoding="utf-8") for each in (root / "infra/app").glob("*.bicep")):
            yield path, 1, f"service {name}: no resource is tagged {tag}"
    sets = [project.get("hooks", {})] + [service.get("hooks", {}) for service in project["services"].values()]
    for hooks in sets:
        for hook, systems in hooks.items():
            for system in ("posix", "windows"):
                script = systems.get(system, {}).get("run", "").strip()
                if not script:
                    yield path, 1, f"hook {hook}: nothing for {system}"
                for part in script.split("&&") if "\n" not in script else []:
                    if part.strip().endswith(".sh") and not (root / part.strip()).is_file():
                        yield path, 1, f"hook {hook}: there is no {part.strip()}"


def check_functions(root):
    """host.json and each function.json, as far as a mistake would only show in Azure."""
    host = root / "host.json"
    if not host.is_file():
        return
    handler = json.loads(host.read_text(encoding="utf-8")).get("customHandler", {})
    if not handler.get("description", {}).get("defaultExecutablePath"):
        yield host, 1, "names no customHandler.description.defaultExecutablePath"
    for path in sorted(root.glob("*/function.json")):
        bindings = json.loads(path.read_text(encoding="utf-8")).get("bindings", [])
        kinds = sorted((each.get("type"), each.get("direction")) for each in bindings)
        if kinds not in ([("http", "out"), ("httpTrigger", "in")], [("timerTrigger", "in")]):
            yield path, 1, "is neither an httpTrigger with its http output nor a timerTrigger"


def findings(root):
    found = []
    for path in sorted((root / "infra").rglob("*.bicep")):
        bicep = Bicep(path)
        check_template(bicep)
        found += bicep.findings
    for check in (check_parameters, check_azure_yaml, check_functions):
        found += check(root)
    return [f"{path.relative_to(root)}:{line}: {what}" for path, line, what in found]


GOOD = """targetScope = 'resourceGroup'
param name string
var names = map([name], each => each.text == name ? 'x' : each.text)
resource group 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: name
}
resource access 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(names)) {
  name: guid(group.id, name)
  scope: group
  properties: {
    principalId: name
    principalType: 'ServicePrincipal'
  }
}
resource role 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(group.id)
  properties: {
    permissions: [
      {
        dataActions: [
          'Microsoft.Storage/storageAccounts/tableServices/tables/entities/read'
        ]
      }
    ]
  }
}
output id string = group.id
"""
MAIN = """param wanted string
module one 'one.bicep' = {
  name: 'one'
  params: {
    name: wanted
  }
}
module many 'one.bicep' = [for item in [wanted]: {
  name: 'many'
  params: {
    name: item
  }
}]
output tag string = one.outputs.id
"""
AZURE = """services:
  api:
    language: custom
    dist: dist
    hooks:
      prepackage:
        posix:
          run: infra/one.sh
        windows:
          run: throw 'no'
"""
PARAMETERS = '{ "parameters": { "wanted": { "value": "x" } } }'
HOST = '{ "customHandler": { "description": { "defaultExecutablePath": "x" } } }'
FUNCTION = '{ "bindings": [{ "type": "timerTrigger", "direction": "in" }] }'
FILES = {
    "infra/app/one.bicep": GOOD + "// 'azd-service-name': 'api'\n",
    "infra/main.bicep": MAIN.replace("one.bicep", "app/one.bicep"),
    "infra/main.parameters.json": PARAMETERS,
    "infra/one.sh": "",
    "azure.yaml": AZURE,
    "host.json": HOST,
    "Reconcile/function.json": FUNCTION,
}
# What is planted: file, text, its replacement, and a part of what has to be said.
PLANTED = [
    ("infra/app/one.bicep", "name: guid(group.id, name)\n", "name: guid(group.id, name\n", "syntax"),
    ("infra/app/one.bicep", "properties: {\n", "properties: \n", "syntax"),
    ("infra/app/one.bicep", "output id string = group.id", "output id string = grup.id", "nothing is named grup"),
    ("infra/app/one.bicep", "each.text == name", "each.text == nam", "nothing is named nam"),
    ("infra/app/one.bicep", "map([name]", "mop([name]", "no function mop"),
    ("infra/app/one.bicep", "if (!empty(names))", "if (true)", "names is never used"),
    ("infra/app/one.bicep", "@2025-06-01", "@2025-06-01-preview", "stable version"),
    ("infra/app/one.bicep", "guid(group.id, name)", "'fixed'", "comes from guid()"),
    ("infra/app/one.bicep", "    principalType: 'ServicePrincipal'\n", "", "principalType"),
    ("infra/app/one.bicep", "guid(group.id)", "'fixed'", "role definition comes from guid()"),
    ("infra/app/one.bicep", "tables/entities/read", "*", "names each action"),
    ("infra/app/one.bicep", "output id string = group.id", "output id string = loadTextContent('no.txt')", "no file"),
    ("infra/app/one.bicep", "output id string = group.id", "output accessToken string = group.id", "secret"),
    ("infra/app/one.bicep", "param name string", "param name string\nparam password string = 'x'", "secret"),
    ("infra/app/one.bicep", "= group.id", "= group.listKeys().keys[0].value", "key or a signature"),
    ("infra/main.bicep", "name: wanted", "nome: wanted", "wants the parameter name"),
    ("infra/main.bicep", "name: wanted", "nome: wanted", "no parameter nome"),
    ("infra/main.bicep", "one.outputs.id", "one.outputs.ids", "no output ids"),
    ("infra/main.bicep", "module one 'app/one.bicep'", "module one 'app/two.bicep'", "no module app/two.bicep"),
    ("infra/main.bicep", "module one 'app/one.bicep'", "module one 'br/public:avm/x:1.0'", "no module br/public"),
    ("infra/main.parameters.json", "wanted", "unknown", "no parameter unknown"),
    ("infra/main.parameters.json", "wanted", "unknown", "wants the parameter wanted"),
    ("azure.yaml", "    dist: dist\n", "", "wants dist"),
    ("azure.yaml", "one.sh", "two.sh", "no infra/two.sh"),
    ("azure.yaml", "        windows:\n          run: throw 'no'\n", "", "nothing for windows"),
    ("azure.yaml", "  api:", "  web:", "no resource is tagged"),
    ("host.json", "defaultExecutablePath", "path", "defaultExecutablePath"),
    ("Reconcile/function.json", "timerTrigger", "httpTrigger", "neither"),
]


def self_test():
    failed = 0
    for file, old, new, expected in [("azure.yaml", "", "", None)] + PLANTED:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder).resolve()
            for path, content in FILES.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                if path == file and expected:
                    assert old in content, f"{old!r} is not in {path}"
                    content = content.replace(old, new)
                (root / path).write_text(content, encoding="utf-8")
            found = findings(root)
        ok = not found if expected is None else any(expected in each for each in found)
        if not ok:
            failed += 1
            print(f"{file}: {old!r} -> {new!r}: expected {expected!r}, found {found}")
    print(f"self-test: {len(PLANTED)} planted mistakes, {failed} not found")
    return failed


def main():
    if sys.argv[1:] == ["--self-test"]:
        return 1 if self_test() else 0
    found = findings(ROOT)
    for each in found:
        print(each)
    print(f"infra: {len(list((ROOT / 'infra').rglob('*.bicep')))} templates, {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
