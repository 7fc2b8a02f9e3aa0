// Connects to an MCP server, lists its tools, calls one and prints what it saw.
// Reads {modules, url, token, call: {tool, arguments}} as JSON from stdin.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const { modules, url, token, call } = JSON.parse(readFileSync(0, 'utf8'));
const require = createRequire(join(modules, 'package.json'));
const { Client } = require('@modelcontextprotocol/sdk/client/index.js');
const { StreamableHTTPClientTransport } = require('@modelcontextprotocol/sdk/client/streamableHttp.js');

const headers = token ? { Authorization: `Bearer ${token}` } : {};
const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } });
const client = new Client({ name: 'gatetest', version: '1' });
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
await transport.terminateSession().catch(() => {}); // a server may not support it
await client.close();
