// The view for operators: the server's metrics in a few figures.

import { inWords, metrics } from './api.js';
import { fill, h, heading } from './dom.js';
import { amount, duration, size } from './times.js';

const EVERY = 10_000; // milliseconds

/** Parses Prometheus' text format into samples: name, labels, value. */
export function parsed(text) {
  const samples = [];
  for (const line of text.split('\n')) {
    const found = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!found || line.startsWith('#')) continue;
    const labels = {};
    for (const [, name, value] of (found[2] ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) labels[name] = value.replace(/\\(.)/g, (_, one) => (one === 'n' ? '\n' : one));
    samples.push({ name: found[1], labels, value: found[3] === '+Inf' ? Infinity : Number(found[3]) });
  }
  return samples;
}

/** The quantile of a histogram by its buckets, as `histogram_quantile` has it; null without observations. */
export function quantile(samples, name, share) {
  const buckets = samples
    .filter((sample) => sample.name === `${name}_bucket`)
    .map(({ labels, value }) => [labels.le === '+Inf' ? Infinity : Number(labels.le), value])
    .sort(([a], [b]) => a - b);
  const total = buckets.at(-1)?.[1];
  if (!total) return null;
  const rank = share * total;
  let [below, before] = [0, 0];
  for (const [edge, count] of buckets) {
    if (count >= rank) return edge === Infinity ? below : below + ((edge - below) * (rank - before)) / (count - before);
    [below, before] = [edge, count];
  }
  return below;
}

function byLabel(samples, name, label) {
  const sums = new Map();
  for (const { labels, value } of samples.filter((sample) => sample.name === name)) sums.set(labels[label], (sums.get(labels[label]) ?? 0) + value);
  return [...sums].filter(([, value]) => value);
}

function group(title, rows) {
  const shown = rows.filter(([, value]) => value !== null && value !== undefined);
  if (!shown.length) return null;
  const row = ([name, value, isBad]) => h('tr', null, h('th', { scope: 'row' }, name), h('td', { class: isBad ? 'right bad' : 'right' }, value));
  return h('section', { class: 'figures' }, h('h2', null, title), h('table', null, h('tbody', null, shown.map(row))));
}

function figures(samples) {
  const one = (name) => samples.find((sample) => sample.name === name)?.value ?? null;
  const shown = (name, write) => one(name) === null ? null : write(one(name));
  const count = (name) => shown(name, amount);
  const bytes = (name) => shown(name, size);
  const rows = (name, label) => byLabel(samples, name, label).map(([key, value]) => [key, amount(value)]);
  const times = (name) => {
    const [middle, high] = [quantile(samples, name, 0.5), quantile(samples, name, 0.95)];
    return middle === null ? null : `${duration(middle)} / ${duration(high)}`;
  };
  const flag = (name, value, yes, no) => (value === null ? [name, null] : [name, value ? yes : no, !value]);
  const instances = samples.filter(({ name }) => name === 'a2a_upstream_instance_connected');
  const waited = one('a2a_interrupt_oldest_seconds');
  return [
    group('Tasks at work', rows('a2a_tasks_active', 'state')),
    group('Turns that have ended', rows('a2a_turns_total', 'state')),
    group('Turns that failed', rows('a2a_turn_failures_total', 'error')),
    group('Times: half within / 95 % within', [
      ['whole turn', times('a2a_turn_duration_seconds')],
      ['first output', times('a2a_turn_first_token_seconds')],
      ['event to reader', times('a2a_event_lag_seconds')],
      ['commit', times('a2a_store_commit_seconds')],
      ['delay of the event loop', times('a2a_loop_lag_seconds')],
    ]),
    group('Permissions and questions', [
      ['wait now', count('a2a_interrupts_pending')],
      ['oldest waits for', waited ? duration(waited) : null],
      ['asked', count('interrupt_requests_total')],
      ['answered', count('interrupt_resolved_total')],
    ]),
    group('OpenCode', [
      flag('event stream', one('a2a_upstream_connected'), 'connected', 'not connected'),
      ...instances.map(({ labels, value }) => flag(labels.opencode, value, 'connected', 'not connected')),
      ['connected again', count('opencode_stream_retries_total')],
    ]),
    group('Store', [
      flag('writes', one('a2a_store_writable'), 'succeed', 'fail'),
      ['calls that wait', count('a2a_store_queue_length')],
      ['not stored yet', bytes('a2a_store_unstored_bytes')],
      ['tasks', count('a2a_store_tasks')],
      ['size', bytes('a2a_store_size_bytes')],
    ]),
    group('Requests', [
      ...rows('a2a_http_requests_total', 'operation'),
      ['open streams', count('a2a_stream_active')],
      ['too often', count('a2a_rate_limit_rejected_total')],
    ]),
    group('Requests refused', rows('a2a_requests_refused_total', 'reason')),
  ];
}

export function metricsView() {
  const body = h('div', { class: 'grid' });
  const info = h('p', { class: 'hint' });
  let timer = null;
  let isClosed = false;

  async function load() {
    if (!document.hidden) {
      try {
        fill(body, figures(parsed(await metrics())));
        info.textContent = `Since the server's start; read at ${new Date().toLocaleTimeString('en-GB')}, and again every ${EVERY / 1000} s.`;
      } catch (error) {
        info.textContent = error.status === 404 ? 'The server has no metrics: A2A_METRICS_ENABLED turns them on.' : inWords(error);
      }
    }
    if (!isClosed) timer = setTimeout(load, EVERY);
  }

  function close() {
    isClosed = true;
    clearTimeout(timer);
  }

  load();
  return { title: 'Server', node: h('section', null, heading('Server'), info, body), close };
}
