// Forms that send a message: a new task, or the next message of a conversation.

import { call, inWords, newMessageId } from './api.js';
import { h, labelled } from './dom.js';
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

/** The models that can be used, for the field's suggestions; none where the server refuses the list. */
async function modelOptions() {
  const { items = [] } = await call('opencode.models.list').catch(() => ({}));
  return items.filter(({ connected }) => connected).map((model) => h('option', { value: `${model.provider_id}/${model.model_id}` }, model.name ?? ''));
}

/**
 * A form for a message. `target`: `contextId` or `taskId` of what it goes on with, or nothing for a new task.
 * `onSent` takes the task that the server answers with.
 */
export function messageForm({ label, button, target = {}, onSent }) {
  const text = h('textarea', { rows: target.contextId ? 3 : 6 });
  const model = h('input', { type: 'text', autocomplete: 'off', spellcheck: false, pattern: '[^/\\s]+/\\S+', title: 'a provider and a model, with a slash between them' });
  const directory = h('input', { type: 'text', autocomplete: 'off', spellcheck: false });
  const files = h('input', { type: 'file', multiple: true });
  const trouble = h('p', { class: 'trouble', role: 'alert' });
  const submit = h('button', { class: 'main' }, button);
  const models = h('datalist', { id: `models-${newMessageId()}` });
  model.setAttribute('list', models.id);
  model.addEventListener('focus', async () => models.childElementCount || models.append(...(await modelOptions())), { once: true });
  // The server answers the same id with the same task: a message whose answer was lost is not run twice.
  let messageId = newMessageId();
  const renewId = () => (messageId = newMessageId());
  const send = async (event) => {
    event.preventDefault();
    trouble.textContent = '';
    if (!text.value.trim() && !files.files.length) {
      trouble.textContent = 'Write a message first.';
      return text.focus();
    }
    submit.disabled = true;
    const [providerID, ...rest] = model.value.trim().split('/');
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
  const form = h(
    'form',
    { class: 'message', onsubmit: send, oninput: renewId },
    labelled(label, text),
    h(
      'details',
      { open: !target.contextId && !target.taskId },
      h('summary', null, 'Options'),
      labelled('Model', model, 'provider/model; empty: the default'),
      target.contextId ? null : labelled('Directory', directory, 'below the workspace; empty: the workspace'),
      labelled('Files', files),
      models,
    ),
    trouble,
    h('div', { class: 'actions' }, submit),
  );
  // Enter alone is a new line, as a message may have many.
  text.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  return form;
}

export function newTaskView({ watch }) {
  const onSent = (task) => {
    watch.soon();
    location.hash = addressOf(task.id);
  };
  const form = messageForm({ label: 'Message', button: 'Start', onSent });
  return { title: 'New task', node: h('section', null, h('h1', { tabIndex: -1 }, 'New task'), form) };
}
