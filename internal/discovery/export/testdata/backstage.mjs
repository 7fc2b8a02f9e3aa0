// Reads entities from standard input as Backstage does, checks them by its own
// package and prints them as JSON. NPM is the directory of the packages.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const npm = process.argv[2];
const need = createRequire(npm + "/");
const yaml = need("yaml");
const model = need("@backstage/catalog-model");
const mcp = need(npm + "/node_modules/@backstage/catalog-model/dist/schema/kinds/API.v1alpha1.mcp-server.schema.json.cjs.js").default;

const kinds = {
  API: model.apiEntityV1alpha1Validator,
  Component: model.componentEntityV1alpha1Validator,
  Group: model.groupEntityV1alpha1Validator,
  Resource: model.resourceEntityV1alpha1Validator,
};
const policy = model.EntityPolicies.allOf([
  new model.SchemaValidEntityPolicy(),
  new model.DefaultNamespaceEntityPolicy(),
  new model.NoForeignRootFieldsEntityPolicy(),
  new model.FieldFormatEntityPolicy(),
]);
const mcpServer = model.entityKindSchemaValidator(mcp);

const out = [];
for (const doc of yaml.parseAllDocuments(readFileSync(0, "utf8"))) {
  if (doc.errors.length || doc.warnings.length) throw new Error(`${doc.errors} ${doc.warnings}`);
  const e = doc.toJSON();
  if (e === null) continue;
  await policy.enforce(structuredClone(e));
  if (!kinds[e.kind] || !(await kinds[e.kind].check(e))) throw new Error(`no entity of its kind: ${JSON.stringify(e)}`);
  if (e.spec.type === "mcp-server" && e.kind === "API" && mcpServer(e) !== e) throw new Error(`no MCP server: ${JSON.stringify(e)}`);
  for (const ref of [e.spec.owner, ...(e.spec.providesApis ?? []), ...(e.spec.consumesApis ?? []), ...(e.spec.dependsOn ?? [])]) {
    if (ref !== undefined) model.parseEntityRef(ref);
  }
  out.push({ ref: model.stringifyEntityRef(e), ...e });
}
process.stdout.write(JSON.stringify(out));
