// A certified authorization server (npm oidc-provider) that rotates refresh tokens, ends a grant when one is used twice, and grants whatever account is hinted at.
// Arguments: port, redirect URI, seconds that an access token lives. It tells at /stats what it has seen.
import Provider from 'oidc-provider';

const [port, redirectURI, life] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const api = 'urn:api';

// The package's own store keeps a thousand entries of a kind, and would forget grants.
const rows = new Map();
const grants = new Map();
class Store {
  constructor(model) { this.model = model; }
  key(id) { return `${this.model}:${id}`; }
  async upsert(id, payload, expiresIn) {
    const key = this.key(id);
    rows.set(key, { payload, until: expiresIn ? Date.now() + expiresIn * 1000 : Infinity });
    if (payload.grantId) {
      if (!grants.has(payload.grantId)) grants.set(payload.grantId, new Set());
      grants.get(payload.grantId).add(key);
    }
    if (payload.uid) rows.set(`uid:${payload.uid}`, { alias: key, until: Infinity });
  }
  async find(id) {
    const row = rows.get(this.key(id));
    return row && row.until > Date.now() ? row.payload : undefined;
  }
  async findByUid(uid) {
    const row = rows.get(`uid:${uid}`);
    return row && rows.get(row.alias)?.payload;
  }
  async findByUserCode() { return undefined; }
  async consume(id) { const row = rows.get(this.key(id)); if (row) row.payload.consumed = Math.floor(Date.now() / 1000); }
  async destroy(id) { rows.delete(this.key(id)); }
  async revokeByGrantId(grantId) {
    for (const key of grants.get(grantId) ?? []) rows.delete(key);
    grants.delete(grantId);
  }
}
setInterval(() => {
  const now = Date.now();
  for (const [key, row] of rows) if (row.until <= now) rows.delete(key);
}, 5000).unref();

const provider = new Provider(issuer, {
  adapter: Store,
  clients: [{ client_id: 'proof', client_secret: 'proof-secret', redirect_uris: [redirectURI], grant_types: ['authorization_code', 'refresh_token'], id_token_signed_response_alg: 'ES256' }],
  features: {
    devInteractions: { enabled: false },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => api,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({ scope: 'mail', audience: api, accessTokenTTL: Number(life), accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } }),
    },
  },
  jwks: { keys: [await key()] },
  scopes: ['openid', 'offline_access', 'mail'],
  pkce: { required: () => true },
  rotateRefreshToken: true,
  issueRefreshToken: async () => true,
  ttl: { RefreshToken: 86400, Grant: 86400, Session: 86400, Interaction: 600, AuthorizationCode: 60, IdToken: 60 },
  findAccount: async (ctx, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
});

async function key() {
  const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign']);
  return { ...(await crypto.subtle.exportKey('jwk', pair.privateKey)), alg: 'ES256', use: 'sig', kid: 'one', key_ops: undefined, ext: undefined };
}

const stats = { refreshed: 0, reused: {}, errors: {} };
provider.on('grant.success', (ctx) => { if (ctx.oidc.params.grant_type === 'refresh_token') stats.refreshed++; });
provider.on('grant.error', (ctx, err) => {
  const what = err.error_detail ?? err.error;
  stats.errors[what] = (stats.errors[what] ?? 0) + 1;
  if (what === 'refresh token already used') {
    const account = ctx.oidc.entities.RefreshToken?.accountId ?? '?';
    stats.reused[account] = (stats.reused[account] ?? 0) + 1;
  }
});
provider.on('server_error', (ctx, err) => console.error('server error', err));

provider.use(async (ctx, next) => {
  if (ctx.path === '/stats') { ctx.body = stats; return; }
  if (!ctx.path.startsWith('/interaction/')) return next();
  const { prompt, params, session, grantId } = await provider.interactionDetails(ctx.req, ctx.res);
  if (prompt.name === 'login') {
    return provider.interactionFinished(ctx.req, ctx.res, { login: { accountId: params.login_hint } }, { mergeWithLastSubmission: false });
  }
  const grant = grantId ? await provider.Grant.find(grantId) : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope('openid offline_access mail');
  grant.addResourceScope(api, 'mail');
  return provider.interactionFinished(ctx.req, ctx.res, { consent: { grantId: await grant.save() } }, { mergeWithLastSubmission: true });
});

provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
