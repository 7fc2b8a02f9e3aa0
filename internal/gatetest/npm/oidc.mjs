// A real authorization server: oidc-provider. It signs everybody in as ann and
// takes every consent. Its address is printed once it listens. What it says of logouts
// goes through /relay to wherever a PUT there says, and a GET there gives it once more.
//
//   node oidc.mjs PACKAGES REDIRECT PUBLIC_JWK
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [, , root, redirect, jwk] = process.argv;
const require = createRequire(root + '/package.json');
const { Provider } = await import(pathToFileURL(require.resolve('oidc-provider')).href);

const server = createServer();
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [
    { client_id: 'service', client_secret: 'service-secret-4711+/x', grant_types: ['client_credentials'], redirect_uris: [], response_types: [] },
    { client_id: 'keyed', token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: [JSON.parse(jwk)] }, grant_types: ['client_credentials'], redirect_uris: [], response_types: [] },
    { client_id: 'person', token_endpoint_auth_method: 'none', application_type: 'native', redirect_uris: [redirect], grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'],
      backchannel_logout_uri: `${issuer}/relay`, backchannel_logout_session_required: true },
  ],
  scopes: ['read', 'write', 'offline_access', 'openid'],
  cookies: { keys: ['only for tests'] },
  fetch: (url, options) => fetch(url, { ...options, dispatcher: undefined }), // it reaches no loopback by itself
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  issueRefreshToken: () => true,
  rotateRefreshToken: true,
  pkce: { required: () => true },
  ttl: { AccessToken: 15, ClientCredentials: 600, RefreshToken: 3600, Interaction: 600, Session: 600, Grant: 3600, AuthorizationCode: 60 },
  features: {
    devInteractions: { enabled: false },
    backchannelLogout: { enabled: true },
    clientCredentials: { enabled: true },
    registration: { enabled: true },
    revocation: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource) => ({ scope: 'read write', audience: resource, accessTokenFormat: 'opaque' }),
      useGrantedResource: () => true,
    },
  },
});

const answer = provider.callback();
provider.on('backchannel.error', (_, e) => console.error(e));
let target = '';
let last = '';
async function relay(req, res) {
  let body = '';
  for await (const part of req) body += part;
  if (req.method === 'PUT') target = body;
  if (req.method !== 'POST') return res.end(last);
  last = body;
  res.statusCode = (await fetch(target, { method: 'POST', body, headers: { 'content-type': req.headers['content-type'] } })).status;
  res.end();
}
server.on('request', async (req, res) => {
  if (req.url === '/relay') return relay(req, res);
  if (!req.url.startsWith('/interaction/')) return answer(req, res);
  try {
    const { prompt, params, session } = await provider.interactionDetails(req, res);
    if (prompt.name === 'login') return await provider.interactionFinished(req, res, { login: { accountId: 'ann' } });
    const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    for (const [resource, scopes] of Object.entries(prompt.details.missingResourceScopes ?? {})) grant.addResourceScope(resource, scopes.join(' '));
    if (prompt.details.missingOIDCScope) grant.addOIDCScope(prompt.details.missingOIDCScope.join(' '));
    return await provider.interactionFinished(req, res, { consent: { grantId: await grant.save() } }, { mergeWithLastSubmission: true });
  } catch (e) {
    res.statusCode = 500;
    res.end(String(e));
  }
});
console.log(issuer);
