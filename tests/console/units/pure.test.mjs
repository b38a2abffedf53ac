// The parts of the page that need no page: event streams, tasks, metrics, texts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { shown } from './dom.mjs';

const folder = '../../../opencode_a2a/console';
const { EventParser, hasEnded } = await import(`${folder}/events.js`);
const { applied, interruptOf, interruptsOf, kindOf, modelOf, outcomeOf, resolvedOf, stateName, waitingCalls } = await import(`${folder}/task-state.js`);
const { parsed, quantile } = await import(`${folder}/metrics.js`);
const { exact } = await import(`${folder}/dom.js`);
const { cleanName } = await import(`${folder}/files.js`);
const { base64, duration, fromBase64, money, size } = await import(`${folder}/times.js`);
const { inWords, ApiError, resultOf } = await import(`${folder}/api.js`);

const STREAM = ': a comment\n\nid: 1\ndata: {"a":\ndata: 1}\n\nid: 2\r\ndata:x: y\r\n\r\ndata: z\n\n';
const EVENTS = [{ id: '1', data: '{"a":\n1}' }, { id: '2', data: 'x: y' }, { id: '2', data: 'z' }];

test('events are the same however they are cut', () => {
  assert.deepEqual(new EventParser().push(STREAM), EVENTS);
  for (let cut = 1; cut < STREAM.length; cut += 1) {
    const parser = new EventParser();
    assert.deepEqual([...parser.push(STREAM.slice(0, cut)), ...parser.push(STREAM.slice(cut))], EVENTS, `cut at ${cut}`);
  }
  const parser = new EventParser();
  assert.deepEqual([...STREAM].flatMap((character) => parser.push(character)), EVENTS);
});

const TASK = { id: 't', contextId: 'c', status: { state: 'TASK_STATE_WORKING' } };
const chunk = (text, append, more = {}) => ({
  artifactUpdate: { artifact: { artifactId: 'a', parts: [{ text }], metadata: { shared: { stream: { block_type: 'text', ...more } } } }, append },
});

test('chunks add up, and a part of its own begins where its id is stated', () => {
  const events = [{ task: TASK }, chunk('He', false, { part_id: '1' }), chunk('llo', true), chunk('Next', true, { part_id: '2' }), chunk('!', true)];
  const task = events.reduce(applied, null);
  assert.deepEqual(task.artifacts[0].parts, [{ text: 'Hello' }, { text: 'Next!' }]);
  assert.deepEqual(applied(task, chunk('Whole', false)).artifacts[0].parts, [{ text: 'Whole' }]);
});

test('a status keeps what the one before it stated', () => {
  const task = applied(null, { task: { ...TASK, metadata: { shared: { session: { id: 's' } } } } });
  const next = applied(task, { statusUpdate: { taskId: 't', status: { state: 'TASK_STATE_COMPLETED' }, metadata: { shared: { usage: { cost: 1 } } } } });
  assert.deepEqual([next.status.state, next.metadata.shared], ['TASK_STATE_COMPLETED', { session: { id: 's' }, usage: { cost: 1 } }]);
  assert.ok(hasEnded(next.status.state) && !hasEnded(task.status.state));
  assert.equal(applied(task, {}), task);
});

test('an interrupt of a stream looks like one of a list', () => {
  const metadata = { shared: { interrupt: { request_id: 'p', type: 'permission', phase: 'asked', details: { permission: 'bash' } } } };
  const found = interruptOf({ statusUpdate: { taskId: 't', contextId: 'c', status: {}, metadata } });
  assert.deepEqual([found.request_id, found.interrupt_type, found.task_id, found.details.permission], ['p', 'permission', 't', 'bash']);
  assert.equal(interruptOf({ task: TASK }), null);
});

test('events of requests move them from what waits to what has ended', () => {
  const event = (phase, request_id, more) => ({ statusUpdate: { taskId: 't', status: {}, metadata: { shared: { interrupt: { request_id, type: 'permission', phase, ...more } } } } });
  const events = [{ task: TASK }, event('asked', 'p', { call_id: 'c1' }), event('asked', 'q', { call_id: 'c2' }), event('resolved', 'p', { by: 'client' })];
  const task = events.reduce(applied, null);
  assert.deepEqual(waitingCalls(task), ['c2']);
  assert.deepEqual(resolvedOf(task), [{ request_id: 'p', type: 'permission', by: 'client' }]);
  // A stream that is resumed may bring an event again.
  assert.deepEqual(resolvedOf(applied(task, events.at(-1))), resolvedOf(task));
  assert.equal(resolvedOf(applied(task, event('resolved', 'q'))).length, 2);
  assert.deepEqual(resolvedOf(TASK), []);
});

test('how a request has ended is said in words', () => {
  const outcome = (entry) => outcomeOf({ type: 'permission', resolution: 'replied', ...entry }, 'ada');
  assert.equal(outcome({ reply: 'once', by: 'client' }), 'allowed once by ada');
  assert.equal(outcome({ reply: 'always', by: 'opencode' }), 'allowed always elsewhere, in OpenCode');
  assert.equal(outcome({ resolution: 'rejected', by: 'timeout' }), 'rejected as nobody answered in time');
  assert.equal(outcome({}), 'answered elsewhere');
  assert.equal(outcome({ type: 'question', by: 'client' }), 'answered by ada');
  assert.equal(outcome({ type: 'question', by: 'client', answer: 'B' }), 'answered “B” by ada');
  assert.equal(outcome({ reply: 'reject', by: 'client', answer: 'not now' }), 'rejected by ada, with the reason “not now”');
  assert.equal(outcome({ type: 'question', resolution: 'rejected', by: 'end' }), 'left unanswered as the turn ended');
});

test('the model that was used goes before the one that was asked for', () => {
  const [asked, used] = [{ providerID: 'p', modelID: 'asked' }, { providerID: 'p', modelID: 'used' }];
  const task = { ...TASK, history: [{ metadata: { shared: { model: asked } } }] };
  assert.equal(modelOf(TASK), null);
  assert.equal(modelOf(task), 'p/asked');
  assert.equal(modelOf({ ...task, metadata: { shared: { usage: { model: used } } } }), 'p/used');
});

test('a task says what it waits for, as the lists do', () => {
  const interrupts = [{ request_id: 'p', type: 'permission', details: { permission: 'bash' } }, { request_id: 'q', type: 'question' }];
  const [permission, question] = interruptsOf({ ...TASK, metadata: { shared: { interrupts, session: { id: 's' } } } });
  assert.deepEqual(permission, { request_id: 'p', interrupt_type: 'permission', task_id: 't', context_id: 'c', session_id: 's', details: { permission: 'bash' } });
  assert.deepEqual(question.details, {});
  assert.deepEqual(interruptsOf(TASK), []);
});

test('an artifact without hints has a kind, too', () => {
  assert.equal(kindOf({ parts: [{ text: 'a' }] }), 'text');
  assert.equal(kindOf({ artifactId: 't:tool_call:p', parts: [{ data: {} }] }), 'tool_call');
  assert.equal(kindOf({ parts: [{ raw: '' }] }), 'file');
  assert.equal(stateName('TASK_STATE_INPUT_REQUIRED'), 'input required');
});

const METRICS = `# HELP a_total Some "text" {}
# TYPE a_total counter
a_total{state="completed",x="a\\"b\\\\"} 3.0
a_seconds_bucket{le="1.0"} 2.0
a_seconds_bucket{le="2.0"} 4.0
a_seconds_bucket{le="+Inf"} 4.0
b 1e3
`;

test('metrics are read with their labels, and quantiles as Prometheus has them', () => {
  const samples = parsed(METRICS);
  assert.deepEqual(samples[0], { name: 'a_total', labels: { state: 'completed', x: 'a"b\\' }, value: 3 });
  assert.equal(samples.at(-1).value, 1000);
  assert.deepEqual([0.25, 0.5, 0.75, 1].map((share) => quantile(samples, 'a_seconds', share)), [0.5, 1, 1.5, 2]);
  assert.equal(quantile(samples, 'nothing', 0.5), null);
});

test('what cannot be seen is shown', () => {
  assert.equal(shown(exact('rm \u202e/gpj.\u200b\u0007x')), 'rm <span>U+202E</span>/gpj.<span>U+200B</span><span>U+0007</span>x');
  assert.equal(shown(exact('a\n\tü 🌱')), 'a\n\tü 🌱');
});

test('a file has a name without a path', () => {
  assert.equal(cleanName('../../etc/passwd'), 'passwd');
  assert.equal(cleanName('a\\b\u202e"x.exe'), 'b__x.exe');
  assert.equal(cleanName(undefined), 'file');
});

test('as many ended requests are kept as the server keeps', () => {
  let task = applied(null, { task: TASK });
  for (let number = 0; number < 60; number += 1) {
    const interrupt = { phase: 'resolved', request_id: `r${number}`, resolution: 'replied' };
    task = applied(task, { statusUpdate: { taskId: 't', status: { state: 'TASK_STATE_WORKING' }, metadata: { shared: { interrupt } } } });
  }
  assert.deepEqual(resolvedOf(task).map(({ request_id: id }) => id).sort(), Array.from({ length: 50 }, (_, index) => `r${index + 10}`).sort());
});

test('amounts are short', () => {
  assert.deepEqual([duration(0.25), duration(3.21), duration(300), size(100), size(2048), money(0), money(0.0123), money(1.5)], ['250 ms', '3.2 s', '5 min', '100 bytes', '2 KiB', '$0.00', '$0.0123', '$1.50']);
  const bytes = Uint8Array.from({ length: 70_000 }, (_, index) => index % 256);
  assert.deepEqual(fromBase64(base64(bytes)), bytes);
});

test('errors have plain words', () => {
  assert.equal(inWords(new ApiError('RATE_LIMITED', 'x', { retryAfter: 3 })), 'Too many requests with this credential. Try again in 3 s.');
  assert.equal(inWords(new ApiError('OTHER', 'as the server has it')), 'as the server has it');
  assert.deepEqual([null, 3, 1e300].map((retryAfter) => new ApiError('OTHER', 'x', { retryAfter }).retryAfter), [null, 3, 3600]);
  assert.throws(() => resultOf({ error: { code: -32001, message: 'x' } }), { kind: 'TASK_NOT_FOUND' });
  assert.throws(() => resultOf({ error: { code: -32000, message: 'x', data: [{ reason: 'STORE_UNAVAILABLE' }] } }), { kind: 'STORE_UNAVAILABLE', isTemporary: true });
  assert.deepEqual(resultOf({ result: 1 }), 1);
});
