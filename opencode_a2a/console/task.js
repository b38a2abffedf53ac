// The view of one task: its stream as it comes, and what the person can do with it.

import { call, inWords } from './api.js';
import { messageForm } from './compose.js';
import { announce, asText, button, captioned, confirmed, exact, facts, fill, h, heading, literal } from './dom.js';
import { Subscription, hasEnded } from './events.js';
import { fileOf, save } from './files.js';
import { cards } from './interrupts.js';
import { MarkdownView } from './markdown.js';
import { addressOf, applied, interruptOf, interruptsOf, kindOf, modelOf, outcomeOf, resolvedOf, sessionOf, stateName, textOf, titleOf, usageOf, waitingCalls } from './task-state.js';
import { stateBadge } from './tasks.js';
import { amount, clock, fromNow, money, moving } from './times.js';

const LONGEST_MARKDOWN = 200_000; // characters; what is longer is shown as text, and can be saved
const LONGEST_OUTPUT = 20_000;

const END = {
  length: "It was cut off at the model's longest answer.",
  refused: "The provider's content filter refused it.",
  aborted: 'It was stopped in OpenCode.',
  cancelled: 'It was canceled.',
};

/** A long text in part, with a button that saves all of it. */
function output(text, name) {
  if (text.length <= LONGEST_OUTPUT) return literal(text);
  const all = () => save(new TextEncoder().encode(text), name);
  return [literal(text.slice(0, LONGEST_OUTPUT)), h('p', { class: 'hint' }, `${amount(text.length - LONGEST_OUTPUT)} more characters. `, button('Save all', all))];
}

function longView() {
  const node = h('div');
  return { node, show: (text) => fill(node, output(text, 'answer.txt')) };
}

/** Texts of an artifact, each part as Markdown. */
class TextBlock {
  #views = [];

  constructor() {
    this.node = h('div', { class: 'text' });
  }

  show({ parts = [] }) {
    const texts = parts.filter(({ text }) => text !== undefined);
    this.#views.splice(texts.length).forEach(({ node }) => node.remove());
    for (const [index, { text }] of texts.entries()) {
      const old = this.#views[index];
      if (old?.text === text) continue;
      const isLong = text.length > LONGEST_MARKDOWN;
      const view = old?.isLong === isLong ? old : Object.assign(isLong ? longView() : new MarkdownView(), { isLong });
      if (!old) this.node.append(view.node);
      else if (old !== view) old.node.replaceWith(view.node);
      view.text = text;
      view.show(text);
      this.#views[index] = view;
    }
  }
}

function reasoningBlock() {
  const text = new TextBlock();
  return { node: h('details', { class: 'reasoning' }, h('summary', null, 'Reasoning'), text.node), show: (artifact) => text.show(artifact) };
}

function toolBlock() {
  const [head, body] = [h('summary'), h('div')];
  const show = (artifact, waits) => {
    const data = artifact.parts.find((part) => part.data !== undefined)?.data ?? {};
    const { command, ...more } = data.input ?? {};
    const title = data.title ?? data.input?.description ?? command ?? '';
    const [state, words] = waits ? ['input-required', 'waits for an answer'] : [data.status, data.status ?? ''];
    fill(head, h('span', { class: `state ${state}` }, words), ' ', h('strong', null, exact(data.tool ?? artifact.name ?? 'tool')), ' ', h('span', { class: 'title' }, exact(asText(title).slice(0, 200))));
    const rest = Object.keys(more).length ? more : null;
    fill(
      body,
      data.subtitle ? h('p', null, exact(data.subtitle)) : null,
      command === undefined ? null : captioned('Command', literal(asText(command))),
      rest ? captioned('Input', output(asText(rest), 'input.json')) : null,
      data.output ? captioned('Output', output(asText(data.output), 'output.txt')) : null,
      data.error ? captioned('Error', output(asText(data.error), 'error.txt')) : null,
      artifact.parts.map(file).filter(Boolean),
    );
  };
  return { node: h('details', { class: 'tool' }, head, body), show };
}

function fileBlock() {
  const node = h('div', { class: 'file' });
  const show = ({ name, parts }) => fill(node, parts.map((part) => file({ filename: name, ...part }) ?? (part.text === undefined ? null : literal(part.text))));
  return { node, show };
}

function file(part) {
  try {
    return fileOf(part);
  } catch {
    return h('p', { class: 'trouble' }, 'A file came whose bytes cannot be read.');
  }
}

const BLOCKS = { text: () => new TextBlock(), reasoning: reasoningBlock, tool_call: toolBlock, file: fileBlock };

/** The output of a task in sections, so that a stream and a task that is read later look alike. */
class Output {
  #blocks = new Map();
  #sections = Object.fromEntries(
    [['reasoning', 'Reasoning'], ['tool_call', 'Tool calls'], ['file', 'Files'], ['text', 'Answer']].map(([kind, title]) => {
      const body = h('div');
      return [kind, { body, node: h('section', { hidden: true, class: kind }, h('h2', null, title), body) }];
    }),
  );

  constructor() {
    this.node = h('div', null, Object.values(this.#sections).map(({ node }) => node));
  }

  show(task) {
    const { artifacts = [] } = task;
    const calls = waitingCalls(task);
    const ids = new Set(artifacts.map(({ artifactId }) => artifactId));
    for (const [id, { block }] of this.#blocks) {
      if (ids.has(id)) continue;
      block.node.remove();
      this.#blocks.delete(id);
    }
    for (const artifact of artifacts) {
      const known = this.#blocks.get(artifact.artifactId);
      const waits = calls.some((id) => artifact.parts.some(({ data }) => data?.call_id === id));
      if (known?.artifact === artifact && known.waits === waits) continue;
      const kind = kindOf(artifact);
      const block = known?.block ?? (BLOCKS[kind] ?? fileBlock)();
      if (!known) this.#sections[kind in BLOCKS ? kind : 'file'].body.append(block.node);
      block.show(artifact, waits);
      this.#blocks.set(artifact.artifactId, { block, artifact, waits });
    }
    for (const { node, body } of Object.values(this.#sections)) node.hidden = !body.childElementCount;
  }
}

function usageText(usage) {
  if (!usage) return null;
  const cache = usage.cache_tokens?.read_tokens ? `, ${amount(usage.cache_tokens.read_tokens)} from the cache` : '';
  const reasoning = usage.reasoning_tokens ? `, ${amount(usage.reasoning_tokens)} for reasoning` : '';
  return `${amount(usage.total_tokens ?? 0)} tokens (${amount(usage.input_tokens ?? 0)} in, ${amount(usage.output_tokens ?? 0)} out${reasoning}${cache}), ${money(usage.cost ?? 0)}, for the last message of the turn`;
}

function progressText({ metadata, status }) {
  const progress = metadata?.shared?.progress;
  if (!progress || status.state !== 'TASK_STATE_WORKING') return null;
  if (progress.type === 'retry') return `Attempt ${progress.attempt ?? '?'} failed: ${progress.message ?? ''}. The next one is ${progress.next ? fromNow(progress.next) : 'soon'}.`;
  return { 'step-start': 'A step has begun.', 'step-finish': 'A step has finished.' }[progress.type] ?? progress.message ?? null;
}

/** A message of the person's. What the title says is not repeated. */
function prompt(message, title) {
  const files = message.parts.map(file).filter(Boolean);
  const text = textOf(message);
  const words = h('p', null, exact(text));
  const isBegun = title.endsWith('…') && text.startsWith(title.slice(0, -1));
  return h(
    'div',
    { class: 'prompt' },
    text === title ? null : isBegun ? h('details', null, h('summary', null, 'Whole message'), words) : words,
    files.length ? h('div', { class: 'actions' }, files) : null,
  );
}

function answered(entry, principal) {
  return h(
    'li',
    null,
    entry.type === 'permission' ? 'Permission: ' : 'Question: ',
    entry.subject ? h('code', { class: 'line' }, exact(entry.subject)) : null,
    ' — ', exact(outcomeOf(entry, principal)), ', at ',
    h('time', { dateTime: entry.resolved_at }, clock(entry.resolved_at)),
  );
}

export function taskView({ watch, person, id, retitled }) {
  const view = { title: 'Task', node: null, close };
  const title = heading('Task');
  const badge = h('span');
  const connection = h('p', { class: 'hint' });
  const prompts = h('div');
  const about = h('div');
  const asked = h('ul');
  const askedSection = h('section', { hidden: true }, h('h2', null, 'Answered'), asked);
  const message = h('div', { class: 'status-message' });
  const produced = new Output();
  const cancel = button('Cancel task', canceled, { class: 'danger', hidden: true });
  const next = h('section', { hidden: true });
  let task, subscription, frame, form;
  let shownState, shownTitle, shownEnded;
  const waits = cards(watch, { concerns: (item) => item.task_id === id, onChange: draw });

  /** Draws at most once a frame: a stream may bring hundreds of events a second. */
  function draw() {
    frame ??= requestAnimationFrame(() => {
      frame = null;
      if (task) show();
    });
  }

  function show() {
    const { state } = task.status;
    const name = titleOf(task);
    const users = (task.history ?? []).filter(({ role }) => role === 'ROLE_USER');
    if (shownTitle !== name) {
      shownTitle = name;
      fill(title, exact(name));
      view.title = name.slice(0, 40);
      retitled();
    }
    if (prompts.childElementCount !== users.length) fill(prompts, users.map((one) => prompt(one, name)));
    const ended = resolvedOf(task);
    if (shownEnded !== ended) fill(asked, ended.filter((entry) => !waits.has(entry.request_id)).map((entry) => answered(entry, person.principal)));
    shownEnded = ended;
    askedSection.hidden = !asked.childElementCount;
    produced.show(task);
    const session = sessionOf(task);
    const { error, end } = task.metadata?.opencode ?? {};
    fill(about, facts([
      ['Changed', moving(task.status.timestamp)],
      ['Session', session ? exact(session.title ?? session.id) : null],
      ['Model', modelOf(task)],
      ['Usage', usageText(usageOf(task))],
      ['Progress', progressText(task)],
      ['End', END[end] ?? null],
      ['Error', error ? exact([error.type, error.upstream_status].filter(Boolean).join(', status ')) : null],
    ]));
    // While it waits, the cards have what the message says.
    const words = state === 'TASK_STATE_INPUT_REQUIRED' ? '' : textOf(task.status.message);
    fill(message, words ? h('p', { class: state === 'TASK_STATE_FAILED' ? 'trouble' : '' }, exact(words)) : null);
    if (state !== shownState) {
      fill(badge, stateBadge(state));
      if (shownState) announce(`The task is ${stateName(state)}.`);
      shownState = state;
      cancel.hidden = hasEnded(state) && state !== 'TASK_STATE_AUTH_REQUIRED';
      if (state === 'TASK_STATE_INPUT_REQUIRED' && !watch.pending.some((item) => item.task_id === id)) {
        const waiting = interruptsOf(task);
        watch.titles.set(id, titleOf(task));
        waiting.forEach((item) => watch.add(item));
        // A task that began to wait under an earlier release does not say for what; the lists do.
        if (!waiting.length) watch.refresh().catch(() => watch.soon());
      }
    }
    offer(state);
  }

  /**
   * Offers the next message: to the task where it lacks credentials, else to its conversation. Where that waits, the
   * server takes any message as the answer.
   */
  function offer(state) {
    const toTask = state === 'TASK_STATE_AUTH_REQUIRED';
    const kind = toTask ? 'task' : 'context';
    next.hidden = false;
    const items = watch.pending.filter((item) => item.context_id === task.contextId);
    const permission = items.find((item) => item.interrupt_type === 'permission');
    if (form?.kind !== kind) form = { kind, ...filled(toTask) };
    if (permission) form.hold(`A permission waits ${permission.task_id === id ? 'above' : 'in another task of this conversation'}. Answer it there first: most messages would reject it.`, true);
    else form.hold(items.length ? 'A question waits. A message from here is taken as its answer.' : '', false);
  }

  function filled(toTask) {
    const target = toTask ? { taskId: task.id } : { contextId: task.contextId };
    const onSent = (sent) => {
      watch.soon();
      if (sent.id === id) follow();
      else location.hash = addressOf(sent.id);
    };
    const made = messageForm({ label: 'Next message', button: 'Send', target, onSent });
    fill(next, h('h2', null, toTask ? 'Try again' : 'Go on'), made.form);
    return made;
  }

  async function canceled() {
    if (!(await confirmed('Cancel this task?', 'Cancel the task', 'Keep it running'))) return;
    title.focus(); // the button is about to go
    cancel.disabled = true;
    try {
      task = { ...task, ...(await call('CancelTask', { id })) };
      draw();
    } catch (error) {
      connection.textContent = inWords(error);
    }
    cancel.disabled = false;
  }

  function onEvent(response) {
    task = applied(task, response);
    const interrupt = interruptOf(response);
    if (interrupt?.phase === 'asked') watch.add(interrupt);
    else if (interrupt) watch.settle(interrupt.request_id, `It was ${outcomeOf(interrupt, person.principal)}.`, interrupt.resolved_at);
    draw();
  }

  function onState(state, pause) {
    const retry = button('Try now', () => subscription.retry());
    if (state === 'lost' && pause > 1000) fill(connection, `The connection is lost. Trying again in ${Math.ceil(pause / 1000)} s. `, retry);
    else fill(connection, state === 'live' ? 'Live' : '');
    if (state === 'ended') watch.soon();
  }

  async function read() {
    task = applied(null, { task: await call('GetTask', { id }) });
    draw();
  }

  /** The task may have ended just before it was followed: then it is read, as nothing more comes of it. */
  async function onError(error) {
    try {
      await read();
      connection.textContent = hasEnded(task.status.state) ? '' : inWords(error);
    } catch (reason) {
      connection.textContent = inWords(reason);
    }
  }

  function subscribe() {
    subscription?.close();
    subscription = new Subscription(id, { onEvent, onState, onError });
  }

  /** Reads the task, and follows it where more may come. */
  async function follow() {
    try {
      await read();
      if (!hasEnded(task.status.state)) subscribe();
    } catch (error) {
      connection.textContent = inWords(error);
      if (error.isTemporary) setTimeout(() => view.node.isConnected && follow(), 3000);
    }
  }

  // A browser opens six connections to a server: a hidden page must not hold one of them.
  function onVisibility() {
    if (document.hidden) subscription?.close();
    else follow();
  }

  function close() {
    document.removeEventListener('visibilitychange', onVisibility);
    subscription?.close();
    waits.close();
  }

  document.addEventListener('visibilitychange', onVisibility);
  view.node = h('article', { class: 'task' }, title, h('p', { class: 'task-line' }, badge, ' ', cancel), connection, prompts, waits.node, askedSection, produced.node, message, about, next);
  follow();
  return view;
}
