// Drives a page in Chromium: `node --experimental-websocket websocket_chromium.mjs FOLDER CHROMIUM`.
// The page is of the origin `http://page.test`, which is served here. What the page asks its user is answered by a click.

import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { converse } from './dialogue.mjs';
import { operations } from './websocket_talk.mjs';

const ORIGIN = 'http://page.test';
const TYPES = { html: 'text/html', mjs: 'text/javascript' };
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--disable-dev-shm-usage',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--window-size=900,700',
  '--remote-debugging-port=0',
];

/** Serves the page and its module, and nothing else. */
async function served() {
  const server = createServer(({ url }, response) => {
    const name = /^\/(websocket_(?:page\.html|talk\.mjs))$/.exec(url)?.[1];
    if (!name) return response.writeHead(404).end();
    response.writeHead(200, { 'Content-Type': TYPES[name.split('.')[1]] });
    response.end(readFileSync(new URL(name, import.meta.url)));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server.address().port;
}

/** Starts the browser; the URL of its DevTools. It ends with this process. */
async function started(port) {
  const folder = mkdtempSync(join(tmpdir(), 'chromium-'));
  const rules = `--host-resolver-rules=MAP page.test 127.0.0.1:${port}`;
  const browser = spawn(process.argv[3], [...FLAGS, rules, `--user-data-dir=${folder}`, 'about:blank'], {
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  process.on('exit', () => process.kill(-browser.pid, 'SIGKILL'));
  for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit());
  process.stdin.on('end', () => process.exit());
  return new Promise((resolve, reject) => {
    const lines = createInterface({ input: browser.stderr });
    lines.on('line', (line) => {
      const found = /^DevTools listening on (ws:\S+)/.exec(line);
      if (found) resolve(found[1]);
    });
    lines.on('close', () => reject(new Error('Chromium has ended')));
  });
}

/** The page, by the messages of its DevTools. */
async function opened() {
  const browser = new URL(await started(await served()));
  const targets = await (await fetch(`http://${browser.host}/json/list`)).json();
  const target = targets.find(({ type }) => type === 'page');
  const socket = new WebSocket(target.webSocketDebuggerUrl);
  await new Promise((resolve) => (socket.onopen = resolve));
  const waiting = new Map();
  let last = 0;
  socket.onmessage = ({ data }) => {
    const { id, result, error } = JSON.parse(data);
    waiting.get(id)?.(error ? Promise.reject(new Error(error.message)) : result);
    waiting.delete(id);
  };
  const ask = (method, params = {}) => {
    const id = (last += 1);
    socket.send(JSON.stringify({ id, method, params }));
    return new Promise((resolve) => waiting.set(id, resolve));
  };
  const evaluate = async (expression) => {
    const { result, exceptionDetails } = await ask('Runtime.evaluate', { expression, awaitPromise: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  };
  await ask('Page.navigate', { url: `${ORIGIN}/websocket_page.html` });
  await until(() => evaluate('Boolean(window.perform)'));
  return { ask, evaluate };
}

async function until(condition) {
  const end = Date.now() + 20_000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error('what was waited for did not come');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Clicks the button by which the page lets its user allow what the agent asks. */
async function click({ ask, evaluate }) {
  await until(() => evaluate("!document.getElementById('permission').hidden"));
  const rectangle = "document.getElementById('allow').getBoundingClientRect()";
  const [x, y] = JSON.parse(await evaluate(`JSON.stringify((({x, y}) => [x + 9, y + 9])(${rectangle}))`));
  for (const type of ['mousePressed', 'mouseReleased']) {
    await ask('Input.dispatchMouseEvent', { type, x, y, button: 'left', clickCount: 1 });
  }
}

let opening;

async function* perform(command) {
  opening ??= opened();
  const page = await opening;
  const running = page.evaluate(`window.perform(${JSON.stringify(command)})`);
  if (command.operation === 'dialogue') {
    await Promise.race([running, until(() => page.evaluate("!document.getElementById('permission').hidden"))]);
    if (command.picture) yield { kind: 'picture', png: (await page.ask('Page.captureScreenshot')).data };
    await Promise.race([running, click(page)]);
  }
  const { items, error } = JSON.parse(await running);
  if (error) throw Object.assign(new Error(error.text), error);
  yield* items;
  if (command.picture) yield { kind: 'picture', png: (await page.ask('Page.captureScreenshot')).data };
}

converse(
  Object.fromEntries(Object.keys(operations).map((name) => [name, perform])),
  ({ code = null, status = null }) => ({ code, status }),
);
