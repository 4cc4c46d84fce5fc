// Parses every query and binds it to the tables of a workspace, with the language service that the portal uses.
//
// The queries are those of the rules, of the workbook, and those that the program and the documents print. First it shows
// that mistakes are found.
//
// Needs @kusto/language-service-next (package-lock.json), from the folder that NODE_PATH names; .ci/run installs it there.
// tables.json has the columns that Microsoft documents for each table.
"use strict";
const fs = require("fs");
const path = require("path");
require("@kusto/language-service-next/bridge.min.js");
require("@kusto/language-service-next/Kusto.Language.Bridge.min.js");

const { KustoCode, GlobalState, Symbols } = Kusto.Language;
const ROOT = path.join(__dirname, "..", "..");
// What the templates and the workbook put in, as a query has it then.
const FILLED = {
  __THRESHOLD__: "1",
  __LABELS__: '["entra"]',
  __OURS__: '["00000000-0000-0000-0000-000000000001"]',
  __SCOPES__: '["/subscriptions/00000000-0000-0000-0000-000000000001"]',
  __ORDER__: "01a226d4-e1b4-7b4e-9b71-894553c2a5b9",
  "{Time}": "between (ago(1d) .. now())",
};

const read = (name) => fs.readFileSync(path.join(ROOT, name), "utf8");

function workspace() {
  const tables = Object.entries(JSON.parse(read("infra/queries/tables.json")));
  const symbols = tables.map(([name, columns]) => new Symbols.TableSymbol.$ctor7(name, `(${columns})`, null));
  return GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.$ctor2("workspace", null, symbols));
}

// What is wrong with a query, a line each. A query without columns in its result was not bound.
function mistakes(query, globals) {
  const filled = Object.entries(FILLED).reduce((text, [name, value]) => text.replaceAll(name, value), query);
  const code = KustoCode.ParseAndAnalyze(filled, globals);
  const found = code.GetDiagnostics();
  const said = Array.from({ length: found.Count }, (_, at) => found.getItem(at).Message);
  const placeholder = filled.match(/__\w+__|\{\w+\}/);
  if (placeholder) said.push(`nothing is put in for ${placeholder[0]}`);
  if (!code.ResultType || !code.ResultType.Columns || code.ResultType.Columns.Count === 0) {
    said.push("the result has no columns");
  }
  return said;
}

// The columns that a rule splits its alerts by exist in the result of its query.
function missingColumns(rule, globals) {
  const filled = Object.entries(FILLED).reduce((text, [name, value]) => text.replaceAll(name, value), rule.query);
  const columns = KustoCode.ParseAndAnalyze(filled, globals).ResultType.Columns;
  const names = Array.from({ length: columns.Count }, (_, at) => columns.getItem(at).Name);
  return rule.dimensions.filter((name) => !names.includes(name)).map((name) => `the result has no column ${name}`);
}

function* workbookQueries(items, name) {
  for (const item of items) {
    if (item.content && item.content.query) yield [`${name}: ${item.name}`, item.content.query];
    if (item.content && item.content.items) yield* workbookQueries(item.content.items, name);
  }
}

function* queries() {
  for (const rule of JSON.parse(read("infra/alert-rules.json")).rules) {
    if (rule.query) yield [`alert-rules.json: ${rule.name}`, rule.query, rule];
  }
  if (fs.existsSync(path.join(ROOT, "infra/workbook.json"))) {
    yield* workbookQueries(JSON.parse(read("infra/workbook.json")).items, "workbook.json");
  }
  for (const name of fs.readdirSync(path.join(ROOT, "infra/queries")).filter((name) => name.endsWith(".kql"))) {
    yield [name, read(`infra/queries/${name}`)];
  }
  for (const name of fs.readdirSync(path.join(ROOT, "docs")).filter((name) => name.endsWith(".md"))) {
    const blocks = read(`docs/${name}`).matchAll(/```kusto\n([\s\S]*?)```/g);
    for (const [, query] of blocks) yield [`docs/${name}: ${query.split("\n")[0]}`, query];
  }
}

function selfTest(globals) {
  const planted = [
    ["AppTraces | where Messages has 'x'", "Messages"],
    ["AppTrace | take 1", "AppTrace"],
    ["AppTraces | summarize value = cout()", "cout"],
    ["AppTraces | where TimeGenerated > 5", "operator"],
    ["AppTraces | where (Message has 'x'", "expected"],
    ["AppTraces | where Message == __NOTHING__", "__NOTHING__"],
    ["traces | take 1", "traces"],
    ["StorageTableLogs | project RequesterObjectID", "RequesterObjectID"],
  ];
  const missed = planted.filter(([query, part]) => {
    const said = mistakes(query, globals).join("; ");
    return !said.toLowerCase().includes(part.toLowerCase());
  });
  const good = mistakes("AppTraces | extend line = parse_json(Message) | summarize count() by tostring(line.event)", globals);
  for (const [query] of missed) console.log(`not found: ${query}: ${mistakes(query, globals)}`);
  for (const said of good) console.log(`found in a good query: ${said}`);
  console.log(`self-test: ${planted.length} planted mistakes, ${missed.length} not found`);
  return missed.length + good.length;
}

function main() {
  const globals = workspace();
  let count = 0;
  let found = selfTest(globals);
  for (const [name, query, rule] of queries()) {
    count += 1;
    const said = mistakes(query, globals);
    if (rule && said.length === 0) said.push(...missingColumns(rule, globals));
    for (const what of said) console.log(`${name}: ${what}`);
    found += said.length;
  }
  console.log(`queries: ${count} bound, ${found} findings`);
  return found;
}

process.exitCode = main() === 0 ? 0 : 1;
