// A receiver of security event tokens that reads them with jose alone: the keys are those
// that the issuer publishes. It reads {issuer, jwks, audience, tokens} as JSON and prints
// for each token "ok JTI", or why it does not count.
//
//   node ssf.mjs PACKAGES <ASKED
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { text } from 'node:stream/consumers';

const require = createRequire(process.argv[2] + '/package.json');
const { createRemoteJWKSet, jwtVerify } = await import(pathToFileURL(require.resolve('jose')).href);

const { issuer, jwks, audience, tokens } = JSON.parse(await text(process.stdin));
const keys = createRemoteJWKSet(new URL(jwks));
for (const token of tokens) {
  try {
    const { payload } = await jwtVerify(token, keys, { issuer, audience, typ: 'secevent+jwt' });
    console.log(`ok ${payload.jti}`);
  } catch (no) {
    console.log(no.code ?? String(no));
  }
}
