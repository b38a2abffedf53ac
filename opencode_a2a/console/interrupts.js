// Cards of permissions and questions, with the controls to answer them.

import { inWords } from './api.js';
import { alerts, announce, asText, button, captioned, exact, facts, fill, h, labelled, literal, newId } from './dom.js';
import { addressOf } from './task-state.js';
import { clock, moving } from './times.js';

const PERMISSION = 'a2a.interrupt.permission.reply';

export function summary({ interrupt_type: type, details }) {
  if (type === 'permission') return `Permission: ${details.permission ?? 'an action'}`;
  const questions = details.questions ?? [];
  return questions.length === 1 ? `Question: ${questions[0].header || questions[0].question}` : `${questions.length} questions`;
}

/** All that would run. Nothing is cut: a command's end may be what matters. */
function permissionBody({ details }) {
  const { command, directory, ...more } = details.metadata ?? {};
  const patterns = details.patterns ?? [];
  return [
    command === undefined ? null : captioned('Command', literal(asText(command))),
    facts([
      ['Tool', exact(details.permission ?? '')],
      ['Applies to', patterns.filter((pattern) => pattern !== command).map((pattern) => h('code', { class: 'line' }, exact(pattern)))],
      ['Directory', directory ? h('code', null, exact(asText(directory))) : null],
    ]),
    Object.entries(more).map(([name, value]) => captioned(exact(name), literal(asText(value)))),
  ];
}

/** `send` sends an answer and shows how it went. */
function permissionControls(item, send) {
  const always = item.details.always ?? [];
  const reason = h('textarea', { rows: 2 });
  const form = h(
    'form',
    { class: 'reason', hidden: true, onsubmit: () => {
      const message = reason.value.trim();
      send(PERMISSION, { reply: 'reject', ...(message ? { message } : {}) }, 'You rejected this.');
    } },
    labelled('Reason, which the model reads (optional)', reason),
    h('button', { class: 'danger' }, 'Send rejection'),
  );
  const reject = button('Reject…', () => {
    form.hidden = !form.hidden;
    reject.ariaExpanded = !form.hidden;
    if (!form.hidden) reason.focus();
  }, { class: 'danger', 'aria-expanded': 'false' });
  const allow = (reply, label, outcome) => button(label, () => send(PERMISSION, { reply }, outcome), { class: reply === 'once' ? 'main' : '' });
  const hint = always.length ? h('p', { class: 'hint', id: newId('always') }, '“Always” allows: ', always.map((pattern) => h('code', { class: 'line' }, exact(pattern)))) : null;
  const forever = allow('always', 'Allow always', 'You allowed this always.');
  if (hint) forever.setAttribute('aria-describedby', hint.id);
  return [hint, h('div', { class: 'actions' }, allow('once', 'Allow once', 'You allowed this once.'), forever, reject), form];
}

/** `read` returns the chosen labels and own words. */
function questionFields({ question = '', header = '', options = [], multiple = false, custom = true }) {
  const name = newId('choice');
  const own = h('input', { type: 'text', autocomplete: 'off' });
  const choices = options.map((option) => {
    const input = h('input', { type: multiple ? 'checkbox' : 'radio', name, value: option.label ?? '' });
    const about = option.description ? h('span', { class: 'hint' }, exact(option.description)) : null;
    return { input, row: h('label', { class: 'choice' }, input, h('span', null, exact(option.label ?? ''), about)) };
  });
  // One choice and own words exclude each other; several go together.
  if (!multiple) {
    own.oninput = () => own.value && choices.forEach(({ input }) => (input.checked = false));
    choices.forEach(({ input }) => (input.onchange = () => (own.value = '')));
  }
  const node = h(
    'fieldset',
    null,
    h('legend', null, header ? h('strong', null, exact(header), ' ') : null, exact(question)),
    choices.map(({ row }) => row),
    custom === false ? null : labelled(options.length ? 'Own words' : 'Answer', own),
  );
  const read = () => [...choices.filter(({ input }) => input.checked).map(({ input }) => input.value), ...(own.value.trim() ? [own.value.trim()] : [])];
  return { node, read };
}

function questionControls(item, send) {
  const fields = (item.details.questions ?? []).map(questionFields);
  const trouble = alerts();
  const leave = () => send('a2a.interrupt.question.reject', {}, 'You left this unanswered.');
  return h(
    'form',
    { onsubmit: () => {
      const answers = fields.map(({ read }) => read());
      const missing = answers.findIndex((answer) => !answer.length);
      if (missing >= 0) {
        trouble.textContent = fields.length > 1 ? `Question ${missing + 1} has no answer yet.` : 'Choose an answer, or write one.';
        fields[missing].node.querySelector('input')?.focus();
      } else send('a2a.interrupt.question.reply', { answers }, `You answered: ${answers.map((answer) => answer.join(', ')).join('; ')}`);
    } },
    fields.map(({ node }) => node),
    trouble,
    h('div', { class: 'actions' }, h('button', { class: 'main' }, 'Send answer'), button('Leave unanswered', leave)),
  );
}

/** A card, and `settle`, which puts the outcome in place of the controls. */
function card(item, watch, withTask) {
  const title = h('h2', { id: newId('card'), tabIndex: -1 }, exact(summary(item)));
  const controls = h('div', { class: 'controls' });
  const trouble = alerts();
  const expiry = item.expires_at && moving(new Date(item.expires_at * 1000).toISOString());
  const send = async (method, parameters, outcome) => {
    const buttons = [...controls.querySelectorAll('button')];
    // A button that is disabled loses the focus to the top of the page.
    if (controls.contains(document.activeElement)) title.focus();
    buttons.forEach((button) => (button.disabled = true));
    trouble.textContent = '';
    try {
      await watch.answer(item, method, parameters, outcome);
    } catch (error) {
      trouble.textContent = inWords(error);
      buttons.forEach((button) => (button.disabled = false));
    }
  };
  fill(controls, item.interrupt_type === 'permission' ? permissionControls(item, send) : questionControls(item, send));
  const node = h(
    'article',
    { class: `card ${item.interrupt_type}`, 'aria-labelledby': title.id, data: { request: item.request_id } },
    title,
    item.interrupt_type === 'permission' ? permissionBody(item) : null,
    facts([
      ['Session', withTask ? exact(item.session_id ?? '') : null],
      ['Task', withTask ? h('a', { href: addressOf(item.task_id) }, exact(watch.titles.get(item.task_id) ?? item.task_id.slice(0, 8))) : null],
      ['Expires', expiry],
    ]),
    controls,
    trouble,
  );
  const settle = ({ outcome, ended }) => {
    if (node.classList.contains('settled')) return;
    const hadFocus = controls.contains(document.activeElement);
    node.classList.add('settled');
    // Nothing that could be clicked moves below a pointer.
    const list = node.parentElement;
    if (list.matches(':hover')) {
      node.style.minHeight = `${node.getBoundingClientRect().height}px`;
      list.addEventListener('pointerleave', () => (node.style.minHeight = ''), { once: true });
    }
    expiry?.closest('div').remove();
    fill(controls, h('p', { class: 'outcome' }, exact(outcome)), h('time', { class: 'hint', dateTime: ended }, clock(ended)));
    announce(`${summary(item)}: ${outcome}`);
    if (hadFocus) title.focus();
  };
  return { node, settle };
}

/** Cards of all pending requests that `concerns` lets through, kept up to date. `has`: whether a request has one. */
export function cards(watch, { concerns = () => true, withTask = false, onChange = () => {} } = {}) {
  const shown = new Map();
  const node = h('div', { class: 'cards' });
  const sync = () => {
    for (const item of watch.interrupts.values()) {
      if (!concerns(item)) continue;
      if (!shown.has(item.request_id)) {
        if (item.outcome) continue;
        shown.set(item.request_id, card(item, watch, withTask));
        node.append(shown.get(item.request_id).node);
      }
      if (item.outcome) shown.get(item.request_id).settle(item);
    }
    for (const [id, { node: old }] of shown) {
      if (watch.interrupts.has(id)) continue;
      old.remove();
      shown.delete(id);
    }
    onChange(shown.size);
  };
  watch.addEventListener('interrupts', sync);
  sync();
  return { node, has: (id) => shown.has(id), close: () => watch.removeEventListener('interrupts', sync) };
}
