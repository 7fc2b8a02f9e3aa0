// Connects to an MCP server, lists its tools, calls one and prints what it saw.
// Reads {modules, url, token, key, command, call: {tool, arguments}} as JSON from
// stdin; with a command the server is started and spoken to over stdio, with a
// key the client gets its own tokens.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const { modules, url, token, key, command, call } = JSON.parse(readFileSync(0, 'utf8'));
const require = createRequire(join(modules, 'package.json'));
const { Client } = require('@modelcontextprotocol/sdk/client/index.js');
const { StdioClientTransport } = require('@modelcontextprotocol/sdk/client/stdio.js');
const { StreamableHTTPClientTransport } = require('@modelcontextprotocol/sdk/client/streamableHttp.js');

const { PrivateKeyJwtProvider } = require('@modelcontextprotocol/sdk/client/auth-extensions.js');

const authProvider = key && new PrivateKeyJwtProvider({ clientId: key.agent, privateKey: key.pem, algorithm: 'ES256', expectedIssuer: key.issuer });
const headers = token ? { Authorization: `Bearer ${token}` } : {};
const answers = call.answers ?? {};
const capabilities = {};
if (answers.elicitation) capabilities.elicitation = { form: {}, url: {} };
if (answers.sampling) capabilities.sampling = {};
if (answers.roots) capabilities.roots = {};
const client = new Client({ name: 'gatetest', version: '1' }, { capabilities });
const { ElicitRequestSchema, CreateMessageRequestSchema, ListRootsRequestSchema } = require('@modelcontextprotocol/sdk/types.js');
if (answers.elicitation) client.setRequestHandler(ElicitRequestSchema, () => answers.elicitation);
if (answers.sampling) client.setRequestHandler(CreateMessageRequestSchema, () => answers.sampling);
if (answers.roots) client.setRequestHandler(ListRootsRequestSchema, () => ({ roots: [{ uri: answers.roots }] }));
const transport = command
  ? new StdioClientTransport({ command: command[0], args: command.slice(1) })
  : new StreamableHTTPClientTransport(new URL(url), { authProvider, requestInit: { headers } });
transport.setProtocolVersion ??= (v) => { transport.protocolVersion = v; };
await client.connect(transport);
const tools = [];
for (let cursor; ; ) {
  const page = await client.listTools(cursor ? { cursor } : {});
  tools.push(...page.tools.map((t) => t.name));
  cursor = page.nextCursor;
  if (!cursor) break;
}
const result = await client.callTool({ name: call.tool, arguments: call.arguments ?? {} });
const text = (result.content ?? []).filter((c) => c.type === 'text').map((c) => c.text).join('');
console.log(JSON.stringify({
  revision: transport.protocolVersion,
  server: client.getServerVersion()?.name,
  tools,
  text,
  isError: result.isError === true,
}));
await transport.terminateSession?.().catch(() => {}); // a server may not support it
await client.close();
