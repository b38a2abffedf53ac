// The form to log in: a dialog above whatever the page shows, so that nothing that was typed is lost.

import { ApiError, card, inWords, session } from './api.js';
import { alerts, fill, h, labelled, newId } from './dom.js';
import { base64 } from './times.js';

/** The ways to log in that the public card names. */
async function ways() {
  const schemes = Object.values((await card().catch(() => null))?.securitySchemes ?? {});
  const keyHeader = schemes.map((scheme) => scheme.apiKeySecurityScheme?.name).find(Boolean);
  const http = schemes.map((scheme) => scheme.httpAuthSecurityScheme?.scheme.toLowerCase());
  const secret = (label) => {
    const input = h('input', { type: 'password', autocomplete: 'current-password', required: true, spellcheck: false });
    return { input, field: labelled(label, input) };
  };
  const [token, password, key] = [secret('Token'), secret('Password'), secret('API key')];
  const user = h('input', { type: 'text', autocomplete: 'username', required: true, spellcheck: false });
  const found = [
    { name: 'Token', isTaken: http.includes('bearer') || schemes.some((scheme) => scheme.openIdConnectSecurityScheme), fields: [token.field], headers: () => ({ Authorization: `Bearer ${token.input.value.trim()}` }) },
    {
      name: 'User name and password',
      isTaken: http.includes('basic'),
      fields: [labelled('User name', user), password.field],
      headers: () => ({ Authorization: `Basic ${base64(new TextEncoder().encode(`${user.value}:${password.input.value}`))}` }),
    },
    { name: 'API key', isTaken: keyHeader, fields: [key.field], headers: () => ({ [keyHeader ?? 'X-API-Key']: key.input.value.trim() }) },
  ];
  const taken = found.filter(({ isTaken }) => isTaken);
  // A card that could not be read, or names none of these, rules nothing out.
  return taken.length ? taken : found;
}

/** Asks for a credential until the server accepts one. Resolves to the session. `reason`: why it asks, or null. */
export async function loggedIn(reason) {
  const all = await ways();
  let chosen = all[0];
  const name = newId('way');
  const fields = h('div');
  const trouble = alerts();
  const title = h('h1', { id: newId('login') }, 'Log in');
  const submit = h('button', { class: 'main' }, 'Log in');
  const choose = (way) => {
    chosen = way;
    fill(fields, way.fields);
  };
  const radios = all.map((way, index) =>
    h('label', { class: 'choice' }, h('input', { type: 'radio', name, checked: index === 0, onchange: () => choose(way) }), way.name),
  );
  return new Promise((resolve) => {
    const form = h(
      'form',
      { onsubmit: async () => {
        submit.disabled = true;
        trouble.textContent = '';
        try {
          const begun = await session(chosen.headers());
          if (!begun) throw new ApiError('WRONG_CREDENTIAL', 'The server does not know this credential.');
          dialog.close();
          dialog.remove();
          resolve(begun);
        } catch (error) {
          trouble.textContent = inWords(error);
          submit.disabled = false;
          fields.querySelector('input')?.focus();
        }
      } },
      title,
      reason ? h('p', null, reason) : null,
      all.length > 1 ? h('fieldset', null, h('legend', null, 'Credential'), radios) : null,
      fields,
      trouble,
      h('div', { class: 'actions' }, submit),
    );
    // Escape would leave a page that can do nothing.
    const dialog = h('dialog', { class: 'login', 'aria-labelledby': title.id, oncancel: (event) => event.preventDefault() }, form);
    choose(all[0]);
    document.body.append(dialog);
    dialog.showModal();
    fields.querySelector('input').focus();
  });
}
