// Starts the page: the session, the views by the fragment of the URL, and what is the same in all of them.

import { inWords, logOut, onSessionEnd, session } from './api.js';
import { announce, fill, h, notice } from './dom.js';
import { summary } from './interrupts.js';
import { loggedIn } from './login.js';
import { newTaskView } from './compose.js';
import { metricsView } from './metrics.js';
import { isSoundOn, play, setSound } from './sound.js';
import { taskView } from './task.js';
import { tasksView } from './tasks.js';
import { waitingView } from './waiting.js';
import { Watch } from './watch.js';

const VIEWS = [
  { path: 'waiting', name: 'Waiting', make: waitingView },
  { path: 'tasks', name: 'Tasks', make: tasksView },
  { path: 'new', name: 'New task', make: newTaskView },
  { path: 'metrics', name: 'Server', make: metricsView, capability: 'metrics' },
];

const main = document.getElementById('main');
let current = null;
let person = null;
const watch = new Watch();

const views = () => VIEWS.filter(({ capability }) => !capability || person.capabilities.includes(capability));

function titled() {
  const waits = watch.pending.length;
  document.title = `${waits ? `(${waits}) ` : ''}${current?.title ?? 'Console'} – ${person.agent?.name ?? 'console'}`;
  const badge = document.getElementById('waits');
  if (badge) badge.textContent = waits ? ` (${waits})` : '';
}

function header() {
  document.getElementById('agent').textContent = person.agent?.name ?? 'Console';
  const path = location.hash.split('/')[1] || 'waiting';
  const link = ({ path: own, name }) =>
    h('li', null, h('a', { href: `#/${own}`, 'aria-current': own === path ? 'page' : null }, name, own === 'waiting' ? h('span', { id: 'waits' }) : null));
  fill(document.getElementById('views'), views().map(link));
  const sound = h('button', { type: 'button', 'aria-pressed': String(isSoundOn()), onclick: () => {
    setSound(!isSoundOn());
    sound.setAttribute('aria-pressed', String(isSoundOn()));
  } }, 'Sound');
  const leave = h('button', { type: 'button', onclick: async () => {
    await logOut().catch((error) => notice(inWords(error)));
    location.reload();
  } }, 'Log out');
  fill(document.getElementById('person'), h('span', { class: 'principal' }, person.principal), sound, leave);
}

/** Shows the view that the URL names. The focus goes to its heading, but for the first one. */
function route(event) {
  const [, path, id] = location.hash.split('/');
  const view = views().find((one) => one.path === path) ?? (path === 'task' && id ? { make: taskView } : views()[0]);
  current?.close?.();
  notice(null);
  current = view.make({ watch, person, id: id && decodeURIComponent(id), retitled: titled });
  fill(main, current.node);
  header();
  titled();
  if (event) (main.querySelector('h1') ?? main).focus();
}

/** Logs in again where the session has ended. Another person begins with a page of their own. */
async function renewed() {
  const next = await loggedIn('Your session has ended. Log in again to go on where you were.');
  if (next.principal !== person.principal) location.reload();
  person = next;
  header();
  titled();
}

function changed({ detail: item }) {
  titled();
  if (!item) return;
  announce(`${summary(item)} waits for an answer.`);
  play();
}

async function begin() {
  try {
    person = (await session()) ?? (await loggedIn(null));
  } catch (error) {
    const again = h('button', { type: 'button', onclick: () => location.reload() }, 'Try again');
    notice(inWords(error), again);
    return;
  }
  onSessionEnd(renewed);
  watch.addEventListener('interrupts', changed);
  watch.addEventListener('reach', () => notice(watch.error && `${inWords(watch.error)} What you see may be old; the page tries again by itself.`));
  addEventListener('hashchange', route);
  // The link would change the fragment, which names the view.
  document.getElementById('skip').addEventListener('click', (event) => {
    event.preventDefault();
    main.focus();
  });
  route(null);
  watch.soon();
}

begin();
