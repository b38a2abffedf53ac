// Knows what waits for this person: polls the server for changes of tasks, and keeps pending permissions and questions.

import { call, inWords, quota } from './api.js';
import { outcomeOf, resolvedOf, titleOf } from './task-state.js';

// Milliseconds between polls. With the lists of interrupts, a visible page makes some 25 requests a minute of 120.
const VISIBLE = 4_000;
const HIDDEN = 20_000;
const LIST_EVERY = 5; // polls: what no task's time shows is found then
const SCARCE = 30; // requests left, below which polls slow down for the sake of other tabs and programs

/**
 * Dispatches `interrupts` where a request came, was answered or has gone, `tasks` with the tasks that have changed,
 * and `reach` where the server got out of reach or is back.
 */
export class Watch extends EventTarget {
  interrupts = new Map();
  /** The words of tasks that wait, by their ids. */
  titles = new Map();
  error = null;
  principal = null;
  #since = null;
  #seen = new Map();
  #polls = 0;
  #clock = 0;
  #timer = null;
  #isPolling = false;
  #answering = new Set();

  constructor() {
    super();
    document.addEventListener('visibilitychange', () => document.hidden || this.soon());
  }

  /** Requests that nobody has answered, as far as this page knows. */
  get pending() {
    return [...this.interrupts.values()].filter(({ outcome }) => !outcome);
  }

  async soon() {
    clearTimeout(this.#timer);
    if (this.#isPolling) return;
    this.#isPolling = true;
    let wait = document.hidden ? HIDDEN : VISIBLE;
    try {
      await this.#poll();
      this.#reached(null);
      if (quota.left !== null && quota.left < SCARCE) wait *= 4;
    } catch (error) {
      this.#reached(error);
      wait = Math.max(wait, (error.retryAfter ?? 0) * 1000);
    }
    this.#isPolling = false;
    this.#timer = setTimeout(() => this.soon(), wait);
  }

  #reached(error) {
    const [before, now] = [this.error && inWords(this.error), error && inWords(error)];
    this.error = error;
    if (before !== now) this.dispatchEvent(new Event('reach'));
  }

  async #poll() {
    const parameters = { historyLength: 0, pageSize: this.#since === null ? 1 : 50 };
    if (this.#since !== null) parameters.statusTimestampAfter = this.#since;
    const { tasks = [] } = await call('ListTasks', parameters);
    const changed = tasks.filter(({ id, status }) => this.#seen.get(id) !== status.timestamp);
    // The newest time is asked for again, as other tasks may change in that very millisecond.
    this.#seen = new Map(tasks.map(({ id, status }) => [id, status.timestamp]));
    const isFirst = this.#since === null;
    this.#since = tasks[0]?.status.timestamp ?? this.#since ?? new Date(0).toISOString();
    const waits = new Set(this.pending.map((item) => item.task_id));
    const concerns = ({ id, status }) => waits.has(id) || status.state === 'TASK_STATE_INPUT_REQUIRED';
    if (isFirst || (this.#polls += 1) % LIST_EVERY === 0 || changed.some(concerns)) await this.refresh();
    if (changed.length && !isFirst) this.dispatchEvent(new CustomEvent('tasks', { detail: changed }));
  }

  async refresh() {
    const began = (this.#clock += 1);
    const lists = await Promise.all([call('opencode.permissions.list'), call('opencode.questions.list')]);
    const items = lists.flatMap((list) => list.items);
    if (items.some((item) => !this.titles.has(item.task_id))) await this.#name(items);
    for (const item of items) this.add(item);
    const ids = new Set(items.map((item) => item.request_id));
    for (const item of this.pending) {
      // A stream may have reported it after the list was made.
      if (!ids.has(item.request_id) && item.clock < began) await this.#lookUp(item, 'It was answered elsewhere, or its task has ended.');
    }
  }

  /** Settles a request by what its task says about its end; by other words where the task says nothing. */
  async #lookUp({ request_id: id, task_id }, otherwise) {
    const task = await call('GetTask', { id: task_id, historyLength: 0 }).catch(() => null);
    const entry = resolvedOf(task).find(({ request_id }) => request_id === id);
    this.settle(id, entry ? `It was ${outcomeOf(entry, this.principal)}.` : otherwise, entry?.resolved_at);
  }

  /** Learns the titles of tasks. Those that are not among the newest that wait keep their ids. */
  async #name(items) {
    const { tasks } = await call('ListTasks', { status: 'TASK_STATE_INPUT_REQUIRED', pageSize: 50 });
    for (const { task_id: id } of items) {
      const task = tasks.find((one) => one.id === id);
      this.titles.set(id, task ? titleOf(task) : id.slice(0, 8));
    }
  }

  add(item) {
    const known = this.interrupts.get(item.request_id);
    if (known?.outcome) return;
    const isNew = known === undefined;
    this.interrupts.set(item.request_id, { ...known, ...item, clock: (this.#clock += 1) });
    if (isNew) this.dispatchEvent(new CustomEvent('interrupts', { detail: item }));
  }

  /** Records how a request has ended, in words, and when (RFC 3339; by default now). The first outcome stays. */
  settle(requestId, outcome, ended = new Date().toISOString()) {
    const item = this.interrupts.get(requestId);
    // Its stream may report an answer of this page's before the answer itself has come back.
    if (!item || item.outcome || this.#answering.has(requestId)) return;
    Object.assign(item, { outcome, ended });
    this.dispatchEvent(new Event('interrupts'));
  }

  clear() {
    for (const [id, { outcome }] of this.interrupts) if (outcome) this.interrupts.delete(id);
    this.dispatchEvent(new Event('interrupts'));
  }

  /** Sends an answer. Raises `ApiError` where it may be sent again. */
  async answer(item, method, parameters, outcome) {
    const id = item.request_id;
    let late = null;
    this.#answering.add(id);
    try {
      await call(method, { request_id: id, ...parameters });
    } catch (error) {
      if (!['INTERRUPT_REQUEST_NOT_FOUND', 'INTERRUPT_REQUEST_EXPIRED'].includes(error.kind)) throw error;
      late = inWords(error);
    } finally {
      this.#answering.delete(id);
    }
    if (late) await this.#lookUp(item, late);
    else this.settle(id, outcome);
    this.soon();
  }
}
