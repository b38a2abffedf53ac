// Starts the page: the session, the views by the fragment of the URL, and what is the same in all of them.

import { inWords, logOut, onSessionEnd, session } from './api.js';
import { announce, button, fill, h, notice } from './dom.js';
import { summary } from './interrupts.js';
import { loggedIn } from './login.js';
import { newTaskView } from './compose.js';
import { metricsView } from './metrics.js';
import { isSoundOn, play, setSound } from './sound.js';
import { taskView } from './task.js';
import { tasksView } from './tasks.js';
import { waitingView } from './waiting.js';
import { moveOn } from './times.js';
import { Watch } from './watch.js';

const VIEWS = [
  { path: 'waiting', name: 'Waiting', make: waitingView },
  { path: 'tasks', name: 'Tasks', make: tasksView },
  { path: 'new', name: 'New task', make: newTaskView },
  { path: 'metrics', name: 'Server', make: metricsView, capability: 'metrics' },
];

const MOVE_EVERY = 10_000; // milliseconds
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
  const sound = button('Sound', () => {
    setSound(!isSoundOn());
    sound.ariaPressed = isSoundOn();
  }, { 'aria-pressed': String(isSoundOn()) });
  const leave = button('Log out', async () => {
    await logOut().catch((error) => notice(inWords(error)));
    location.reload();
  });
  fill(document.getElementById('person'), h('span', { class: 'principal' }, person.principal), sound, leave);
  titled();
}

const focusHeading = () => (main.querySelector('h1') ?? main).focus();

/** Shows the view that the URL names, with the focus on its heading. */
function route() {
  const [, path, id] = location.hash.split('/');
  const view = views().find((one) => one.path === path) ?? (path === 'task' && id ? { make: taskView } : views()[0]);
  current?.close?.();
  document.querySelectorAll('dialog:not(.login)').forEach((dialog) => dialog.close());
  notice(null);
  current = view.make({ watch, person, id: id && decodeURIComponent(id), retitled: titled });
  fill(main, current.node);
  header();
  focusHeading();
}

/** Logs in again where the session has ended. Another person begins with a page of their own. */
async function renewed() {
  const next = await loggedIn('Your session has ended. Log in again to go on where you were.');
  if (next.principal !== person.principal) location.reload();
  person = next;
  if (document.activeElement === document.body) focusHeading();
  header();
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
    watch.principal = person.principal;
  } catch (error) {
    const again = button('Try again', () => location.reload());
    return notice(inWords(error), again);
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
  setInterval(moveOn, MOVE_EVERY);
  route();
  watch.soon();
}

begin();
