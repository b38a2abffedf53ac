// The server as the page sees it: its session, JSON-RPC on version 1.0, and errors in plain words.

const EXTENSIONS = ['stream-hints', 'session-binding', 'interactive-interrupt', 'interrupt-recovery', 'model-selection']
  .map((name) => `urn:opencode-a2a:extension:${name}:v1`)
  .join(', ');
// The cookie counts only with this header, which no form and no other origin's page can send.
const HEADERS = { 'X-A2A-Console': '1' };
const TASK_NOT_FOUND = -32001;

/** An error of the server or of the way to it. `kind`: the reason that the server names, or one of this module's. */
export class ApiError extends Error {
  constructor(kind, message, { status = null, retryAfter = null } = {}) {
    super(message);
    this.kind = kind;
    this.status = status;
    this.retryAfter = retryAfter && Math.min(retryAfter, 3600); // timers overflow
  }

  /** Whether the same request may succeed later. */
  get isTemporary() {
    return ['UNREACHABLE', 'RATE_LIMITED', 'STORE_UNAVAILABLE'].includes(this.kind) || (this.status ?? 0) >= 500;
  }
}

const WORDS = {
  UNREACHABLE: 'The server cannot be reached.',
  RATE_LIMITED: 'Too many requests with this credential.',
  TASK_NOT_FOUND: 'This task is not there: it was removed, or it belongs to somebody else.',
  TASK_NOT_CANCELABLE: 'This task has ended already.',
  INTERRUPT_REQUEST_NOT_FOUND: 'Somebody else answered first, or the task has ended.',
  INTERRUPT_REQUEST_EXPIRED: 'This request has expired.',
  UPSTREAM_UNREACHABLE: 'OpenCode cannot be reached. Try again later.',
  STORE_UNAVAILABLE: "The server's database is not available. Try again later.",
  TOO_LARGE: 'This is more than the server takes in one message.',
};

export function inWords(error) {
  const words = WORDS[error.kind];
  if (error.kind === 'RATE_LIMITED' && error.retryAfter) return `${words} Try again in ${error.retryAfter} s.`;
  return words ?? error.message ?? String(error);
}

let renewing = null;
/** Resolves when the person has logged in again. */
let renew = () => Promise.reject(new ApiError('UNAUTHENTICATED', 'Log in first.', { status: 401 }));
export const onSessionEnd = (renewal) => (renew = renewal);

/** Number of requests that the rate limit has left, or null: for the pace of polls. */
export const quota = { left: null };

function refused(response, body) {
  const retryAfter = Number(response.headers.get('Retry-After')) || null;
  const { error } = body ?? {};
  const reason = (error?.details ?? error?.data ?? []).find?.((detail) => detail.reason)?.reason;
  const kind = { 429: 'RATE_LIMITED', 413: 'TOO_LARGE', 502: 'UNREACHABLE', 504: 'UNREACHABLE' }[response.status] ?? reason;
  const text = (typeof error === 'string' ? error : error?.message) ?? `The server answered with ${response.status}.`;
  return new ApiError(kind ?? 'REFUSED', text, { status: response.status, retryAfter });
}

async function exchanged(url, options) {
  let response;
  try {
    response = await fetch(url, { credentials: 'same-origin', cache: 'no-store', redirect: 'error', ...options });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError('UNREACHABLE', WORDS.UNREACHABLE);
  }
  const left = /r=(\d+)/.exec(response.headers.get('RateLimit') ?? '');
  if (left) quota.left = Number(left[1]);
  return response;
}

const json = (response) => response.json().catch(() => null);

/** Sends a request, and again after a login where the session has ended. */
async function sent(url, options = {}) {
  for (;;) {
    const response = await exchanged(url, { ...options, headers: { ...HEADERS, ...options.headers } });
    if (response.status === 401) {
      renewing ??= renew().finally(() => (renewing = null));
      await renewing;
    } else if (response.ok) return response;
    else throw refused(response, await json(response));
  }
}

/** The session by the cookie, or by the headers of a credential; null without one. */
export async function session(credential) {
  const response = await exchanged('console/session', { method: credential ? 'POST' : 'GET', headers: { ...HEADERS, ...credential } });
  if (response.status === 401) return null;
  if (!response.ok) throw refused(response, await json(response));
  return response.json();
}

export async function logOut() {
  await exchanged('console/session', { method: 'DELETE', headers: HEADERS });
}

const rpc = (method, params) => ({
  method: 'POST',
  headers: { 'Content-Type': 'application/json', 'A2A-Version': '1.0', 'A2A-Extensions': EXTENSIONS },
  body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
});

/** The result of a JSON-RPC answer. Raises `ApiError`. */
export function resultOf({ result, error }) {
  if (!error) return result;
  const reason = Array.isArray(error.data) ? error.data.find((detail) => detail.reason)?.reason : null;
  throw new ApiError(error.code === TASK_NOT_FOUND ? 'TASK_NOT_FOUND' : reason ?? 'REFUSED', error.message);
}

export async function call(method, params = {}, signal) {
  const response = await sent('./', { ...rpc(method, params), signal });
  return resultOf(await response.json());
}

/** The open answer of a method that streams. `after`: the id of the last event known. */
export async function stream(method, params, { after = null, signal }) {
  const options = rpc(method, params);
  if (after !== null) options.headers['Last-Event-ID'] = after;
  return sent('./', { ...options, signal });
}

export const metrics = async (signal) => (await sent('metrics', { signal })).text();

export async function card() {
  const response = await exchanged('.well-known/agent-card.json', { headers: { 'A2A-Version': '1.0' } });
  return response.ok ? response.json() : null;
}

/** An id that nobody else has made. `crypto.randomUUID` is missing where the page comes over plain HTTP. */
export function newMessageId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
