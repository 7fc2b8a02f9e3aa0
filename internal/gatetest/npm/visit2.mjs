// Does what visit.mjs does with the SDK's 2.x line, at 2026-07-28.
// Reads {modules, url, key, call: {tool, arguments}} as JSON from stdin.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const { modules, url, key, call } = JSON.parse(readFileSync(0, 'utf8'));
const require = createRequire(join(modules, 'package.json'));
const { Client, PrivateKeyJwtProvider, StreamableHTTPClientTransport } = require('@modelcontextprotocol/client');

const client = new Client({ name: 'gatetest', version: '1' }, { versionNegotiation: { mode: { pin: '2026-07-28' } } });
const authProvider = key && new PrivateKeyJwtProvider({ clientId: key.agent, privateKey: key.pem, algorithm: 'ES256', expectedIssuer: key.issuer });
await client.connect(new StreamableHTTPClientTransport(new URL(url), { authProvider }));
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
  revision: client.getNegotiatedProtocolVersion(),
  server: client.getServerVersion()?.name,
  tools,
  text,
  isError: result.isError === true,
}));
await client.close();
