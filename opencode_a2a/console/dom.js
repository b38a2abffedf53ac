// Nodes of the page. Text becomes text nodes, never markup: what a model or a tool wrote passes through here.

const present = (children) => children.flat(4).filter((child) => child !== null && child !== undefined && child !== false);

/**
 * Makes an element. Properties: `on…` is a listener, `class` and names with a hyphen are attributes, `data` is a map of
 * data attributes, anything else is a property of the node. A child that is null, undefined or false is left out.
 */
export function h(tag, properties, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'data') Object.assign(node.dataset, value);
    else if (name === 'class' || name === 'role' || name === 'for' || name.includes('-')) node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...present(children));
  return node;
}

/** Replaces all children of a node. */
export function fill(node, ...children) {
  node.replaceChildren(...present(children));
  return node;
}

// Controls, marks of direction, and characters without width can make a command look like another one.
const DECEPTIVE =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff]|[\u{e0000}-\u{e0fff}]/gu;

/** Shows a text exactly: characters that cannot be seen stand as their code points. */
export function exact(text) {
  const nodes = [];
  let from = 0;
  for (const found of text.matchAll(DECEPTIVE)) {
    nodes.push(text.slice(from, found.index));
    const code = found[0].codePointAt(0).toString(16).toUpperCase().padStart(4, '0');
    nodes.push(h('span', { class: 'hidden-character', title: 'a character that cannot be seen' }, `U+${code}`));
    from = found.index + found[0].length;
  }
  return [...nodes, text.slice(from)].filter((node) => node !== '');
}

/** A block of exact text, such as a command. */
export const literal = (text) => h('pre', { class: 'literal' }, h('code', { dir: 'ltr' }, exact(text)));

/** A value as text: strings as they are, anything else as JSON. */
export const asText = (value) => (typeof value === 'string' ? value : JSON.stringify(value, null, 2));

/** A list of names and values. A value that is empty is left out with its name. */
export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== '');
  return h('dl', { class: 'facts' }, shown.map(([name, value]) => h('div', null, h('dt', null, name), h('dd', null, value))));
}

let ids = 0;
/** An id that no other node has. */
export const newId = (name) => `${name}-${(ids += 1)}`;

/** A labelled input, text area or list of choices. */
export function labelled(label, input, hint) {
  input.id ||= newId('field');
  const about = hint ? h('span', { class: 'hint', id: `${input.id}-hint` }, hint) : null;
  if (about) input.setAttribute('aria-describedby', about.id);
  return h('div', { class: 'field' }, h('label', { for: input.id }, label), input, about);
}

/** Asks before something that cannot be undone. Resolves to whether the person agreed. */
export function confirmed(question, yes, no) {
  return new Promise((resolve) => {
    const title = h('h2', { id: newId('question') }, question);
    const agree = h('button', { type: 'button', class: 'danger', onclick: () => dialog.close('yes') }, yes);
    const keep = h('button', { type: 'button', autofocus: true, onclick: () => dialog.close('no') }, no);
    const dialog = h('dialog', { 'aria-labelledby': title.id }, title, h('div', { class: 'actions' }, keep, agree));
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(dialog.returnValue === 'yes');
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Reads a message to users of a screen reader, without moving the focus. */
export function announce(text) {
  const region = document.getElementById('announcements');
  if (region) region.textContent = text;
}

/** Shows an error on top of the page until it is dismissed or replaced. Without a text, removes it. */
export function notice(text, action) {
  const region = document.getElementById('notices');
  if (!text) return fill(region);
  const close = h('button', { type: 'button', onclick: () => fill(region) }, 'Dismiss');
  return fill(region, h('div', { class: 'notice' }, h('p', null, text), action ?? null, close));
}
