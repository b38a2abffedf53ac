// The view of the person's tasks: a table with a filter, page by page.

import { call, inWords } from './api.js';
import { button, fill, h, heading, labelled } from './dom.js';
import { addressOf, modelOf, sessionOf, stateName, titleOf, usageOf } from './task-state.js';
import { amount, money, moving } from './times.js';

const PAGE = 25;
const STATES = ['SUBMITTED', 'WORKING', 'INPUT_REQUIRED', 'AUTH_REQUIRED', 'COMPLETED', 'FAILED', 'CANCELED', 'REJECTED'].map((state) => `TASK_STATE_${state}`);

export const stateBadge = (state) => h('span', { class: `state ${stateName(state).replaceAll(' ', '-')}` }, stateName(state));

/** A cell; one without a value is left out where there is little room. */
const cell = (label, value, side = '') => h('td', { 'data-label': label, class: value ? side : `${side} none` }, value || '–');

function row(task) {
  const usage = usageOf(task);
  const model = modelOf(task);
  const session = sessionOf(task);
  return h(
    'tr',
    null,
    h('th', { scope: 'row' }, h('a', { href: addressOf(task.id) }, titleOf(task))),
    cell('State', stateBadge(task.status.state)),
    cell('Changed', moving(task.status.timestamp)),
    cell('Session', session && (session.title ?? session.id)),
    cell('Model', model?.split(/(?<=\/)/).flatMap((piece) => [piece, h('wbr')]), 'model'),
    cell('Tokens', usage && amount(usage.total_tokens ?? 0), 'right'),
    cell('Cost', usage && money(usage.cost ?? 0), 'right'),
  );
}

export function tasksView({ watch, id }) {
  const rows = h('tbody');
  const info = h('p', { class: 'hint', role: 'status' });
  const states = h('select', { onchange: () => first() }, h('option', { value: '' }, 'all states'), STATES.map((state) => h('option', { value: state }, stateName(state))));
  const table = h(
    'table',
    { class: 'tasks' },
    h('thead', null, h('tr', null, ['Task', 'State', 'Changed', 'Session', 'Model', 'Tokens', 'Cost'].map((name) => h('th', { scope: 'col', ...(['Tokens', 'Cost'].includes(name) ? { class: 'right', title: 'for the last message of the turn' } : {}) }, name)))),
    rows,
  );
  const [previous, next] = [button('Previous page', () => turn(-1)), button('Next page', () => turn(1))];
  // Tokens of the pages up to the one shown: a token leads forwards only.
  let tokens = [''];
  let following = '';
  let loading = 0;

  async function load() {
    const number = (loading += 1);
    const parameters = { pageSize: PAGE, ...(states.value ? { status: states.value } : {}), ...(tokens.at(-1) ? { pageToken: tokens.at(-1) } : {}) };
    try {
      const page = await call('ListTasks', parameters);
      if (number !== loading) return; // an answer to a choice that has changed since
      following = page.nextPageToken;
      const focused = [...rows.children].findIndex((one) => one.contains(document.activeElement));
      fill(rows, page.tasks.map(row));
      if (focused >= 0) (rows.children[focused] ?? rows.lastElementChild)?.querySelector('a')?.focus();
      table.hidden = !page.tasks.length;
      previous.disabled = tokens.length < 2;
      next.disabled = !following;
      info.textContent = page.tasks.length ? `Page ${tokens.length}; ${amount(page.totalSize)} task${page.totalSize === 1 ? '' : 's'} in all.` : 'There are no such tasks.';
    } catch (error) {
      if (number === loading) info.textContent = inWords(error);
    }
  }

  function first() {
    history.replaceState(null, '', `#/tasks/${states.value}`); // for a reload, and the way back
    tokens = [''];
    load();
  }

  function turn(direction) {
    if (direction > 0) tokens.push(following);
    else tokens.pop();
    load();
  }

  states.value = STATES.includes(id) ? id : '';
  watch.addEventListener('tasks', load);
  load();
  const node = h('section', null, heading('My tasks'), labelled('State', states), info, table, h('nav', { class: 'actions', 'aria-label': 'Pages' }, previous, next));
  return { title: 'Tasks', node, close: () => watch.removeEventListener('tasks', load) };
}
