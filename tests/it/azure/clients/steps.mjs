// The steps of clients.rs with Microsoft's clients for JavaScript: a line for each, its number and what came of it.

import { AuthorizationManagementClient } from "@azure/arm-authorization";
import { SecretClient } from "@azure/keyvault-secrets";
import assert from "node:assert";

const { GROUP, VAULT, READER, OPERATOR, JANE, JOHN, ONE, TWO, OTHER } = process.env;

const anyToken = { getToken: async () => ({ token: "any", expiresOnTimestamp: Date.now() + 3600_000 }) };
const arm = new AuthorizationManagementClient(anyToken, process.env.SUBSCRIPTION, { endpoint: process.env.ARM_URL });
const vault = new SecretClient(process.env.VAULT_URL, anyToken, { disableChallengeResourceVerification: true });
const { roleAssignments: assignments, roleDefinitions: definitions } = arm;

const properties = (role, person) => ({
  roleDefinitionId: `/providers/Microsoft.Authorization/roleDefinitions/${role}`,
  principalId: person,
  principalType: "User",
});

const last = (path) => path.slice(path.lastIndexOf("/") + 1);

function shown({ name, principalType, principalId, roleDefinitionId, scope }) {
  return `${name} ${principalType} ${principalId} ${last(roleDefinitionId)} ${last(scope)}`;
}

async function all(listed) {
  const items = [];
  for await (const item of listed) items.push(item);
  return items;
}

const names = (listed) => listed.map(({ name }) => name).sort().join(" ") || "none";

async function refused(call) {
  try {
    await call;
  } catch (error) {
    assert.equal(error.name, "RestError");
    return `${error.statusCode} ${error.code}`;
  }
  return "not refused";
}

async function inPages(listed) {
  const pages = await all(listed.byPage());
  return `${names(pages.flat())} in ${pages.length} pages`;
}

async function setAndRead() {
  const first = await vault.setSecret("token", "one", { contentType: "text/plain", tags: { label: "a" } });
  const second = await vault.setSecret("token", "two", { enabled: true });
  assert.equal(first.properties.contentType, "text/plain");
  assert.deepEqual(first.properties.tags, { label: "a" });
  assert.notEqual(first.properties.version, second.properties.version);
  const { version } = first.properties;
  return `${(await vault.getSecret("token")).value} ${(await vault.getSecret("token", { version })).value}`;
}

async function versions() {
  const listed = await all(vault.listPropertiesOfSecretVersions("token"));
  assert(listed.every(({ createdOn, version }) => createdOn && version));
  return `${listed.filter(({ enabled }) => enabled).length} enabled`;
}

const steps = [
  async () => shown(await assignments.create(VAULT, ONE, properties(READER, JANE))),
  async () => shown(await assignments.create(VAULT, ONE, properties(READER, JANE))),
  () => refused(assignments.create(VAULT, OTHER, properties(READER, JANE))),
  () => refused(assignments.create(VAULT, ONE, properties(OPERATOR, JANE))),
  async () => shown(await assignments.create(GROUP, TWO, properties(OPERATOR, JOHN))),
  () => inPages(assignments.listForScope(VAULT)),
  async () => names(await all(assignments.listForScope(GROUP, { filter: "atScope()" }))),
  async () => names(await all(assignments.listForScope(VAULT, { filter: `principalId eq '${JANE}'` }))),
  async () => names(await all(assignments.listForScope(VAULT, { filter: `assignedTo('${JOHN}')` }))),
  async () => shown(await assignments.get(VAULT, ONE)),
  async () => shown(await assignments.delete(VAULT, ONE)),
  async () => ((await assignments.delete(VAULT, ONE))?.name ? "something" : "nothing"),
  () => refused(assignments.get(VAULT, ONE)),
  async () => (await definitions.get(VAULT, READER)).roleName,
  async () => names(await all(definitions.list(VAULT, { filter: "roleName eq 'Backup Operator'" }))),
  setAndRead,
  versions,
  () => refused(vault.getSecret("nothing")),
];

for (const [at, step] of steps.entries()) console.log(at + 1, await step());
