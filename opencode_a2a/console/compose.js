// Forms that send a message: a new task, or the next message of a conversation.

import { call, inWords, newMessageId } from './api.js';
import { alerts, h, heading, labelled, newId } from './dom.js';
import { addressOf } from './task-state.js';
import { base64 } from './times.js';

async function partsOf(text, files) {
  const parts = text.trim() ? [{ text }] : [];
  for (const file of files) {
    const bytes = new Uint8Array(await file.arrayBuffer());
    parts.push({ raw: base64(bytes), filename: file.name, ...(file.type ? { mediaType: file.type } : {}) });
  }
  return parts;
}

/** The models to suggest; none where the server refuses the list. */
async function modelOptions() {
  const { items = [] } = await call('opencode.models.list').catch(() => ({}));
  return items.filter(({ connected }) => connected).map((model) => h('option', { value: `${model.provider_id}/${model.model_id}` }, model.name ?? ''));
}

/**
 * A form for a message. `target`: `contextId` or `taskId` of what it goes on with, or nothing for a new task.
 * `onSent` takes the task that the server answers with. Returns the form, and `hold`: it shows a hint in place of
 * the button, or above it. What is typed stays.
 */
export function messageForm({ label, button, target = {}, onSent }) {
  // Enter alone is a new line, as a message may have many.
  const onkeydown = ({ key, ctrlKey, metaKey }) => key === 'Enter' && (ctrlKey || metaKey) && form.requestSubmit();
  const text = h('textarea', { rows: target.contextId ? 3 : 6, onkeydown });
  const model = h('input', { type: 'text', autocomplete: 'off', spellcheck: false });
  const directory = h('input', { type: 'text', autocomplete: 'off', spellcheck: false });
  const files = h('input', { type: 'file', multiple: true });
  const trouble = alerts();
  const note = h('p', { class: 'hint', id: newId('note') });
  text.setAttribute('aria-describedby', note.id);
  const submit = h('button', { class: 'main' }, button);
  const hold = (hint, isHeld) => {
    note.textContent = hint;
    submit.hidden = isHeld;
  };
  const refuse = (words, field) => {
    trouble.textContent = words;
    field.focus();
  };
  const models = h('datalist', { id: `models-${newMessageId()}` });
  model.setAttribute('list', models.id);
  model.addEventListener('focus', async () => models.childElementCount || models.append(...(await modelOptions())), { once: true });
  // The server answers the same id with the same task: a message whose answer was lost is not run twice.
  let messageId = newMessageId();
  const renewId = () => (messageId = newMessageId());
  const send = async () => {
    if (submit.disabled || submit.hidden) return undefined; // keys need no button
    trouble.textContent = '';
    if (!text.value.trim() && !files.files.length) return refuse('Write a message first.', text);
    const [providerID, ...rest] = model.value.trim().split('/');
    if (model.value.trim() && !/^[^/\s]+\/\S+$/.test(model.value.trim())) {
      options.open = true;
      return refuse('Write the model as provider/model, or leave it empty.', model);
    }
    submit.disabled = true;
    const metadata = {
      ...(rest.length ? { shared: { model: { providerID, modelID: rest.join('/') } } } : {}),
      ...(directory.value.trim() ? { opencode: { directory: directory.value.trim() } } : {}),
    };
    try {
      const message = { messageId, role: 'ROLE_USER', parts: await partsOf(text.value, files.files), ...target, ...(Object.keys(metadata).length ? { metadata } : {}) };
      const { task } = await call('SendMessage', { message, configuration: { returnImmediately: true } });
      text.value = '';
      files.value = '';
      renewId();
      onSent(task);
    } catch (error) {
      trouble.textContent = inWords(error);
    } finally {
      submit.disabled = false;
    }
    return undefined;
  };
  const options = h(
    'details',
    { open: !target.contextId && !target.taskId },
    h('summary', null, 'Options'),
    labelled('Model', model, 'provider/model; empty: the default'),
    target.contextId ? null : labelled('Directory', directory, 'below the workspace; empty: the workspace'),
    labelled('Files', files),
    models,
  );
  const form = h(
    'form',
    { class: 'message', onsubmit: send, oninput: renewId },
    labelled(label, text),
    options,
    note,
    trouble,
    h('div', { class: 'actions' }, submit),
  );
  return { form, hold };
}

export function newTaskView({ watch }) {
  const onSent = (task) => {
    watch.soon();
    location.hash = addressOf(task.id);
  };
  const { form } = messageForm({ label: 'Message', button: 'Start', onSent });
  return { title: 'New task', node: h('section', null, heading('New task'), form) };
}
