// Nodes of the page. Text becomes text nodes, never markup: what a model or a tool wrote passes through here.

const present = (children) => children.flat(4).filter((child) => (child ?? false) !== false);

/**
 * Makes an element. Properties: `on…` is a listener (`onsubmit` sends nothing itself), `class` and names with a hyphen are attributes, `data` is a map of
 * data attributes, anything else is a property of the node. A child that is null, undefined or false is left out.
 */
export function h(tag, properties, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if ((value ?? null) === null) continue;
    if (name === 'onsubmit') node.addEventListener('submit', (event) => value(event.preventDefault()));
    else if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'data') Object.assign(node.dataset, value);
    else if (/^(class|role|for)$|-/.test(name)) node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...present(children));
  return node;
}

/** A button that sends no form. */
export const button = (label, onclick, more) => h('button', { type: 'button', onclick, ...more }, label);

/** A view's heading, which can be focused. */
export const heading = (title) => h('h1', { tabIndex: -1 }, title);

/** A place for errors, which are read out as they come. */
export const alerts = () => h('p', { class: 'trouble', role: 'alert' });

export function fill(node, ...children) {
  node.replaceChildren(...present(children));
  return node;
}

// Controls, marks of direction, and characters without width can make a command look like another one.
const DECEPTIVE = /(?![\t\n])[\p{Cc}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\ufff0-\uffff]/gu;

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

export const captioned = (caption, ...nodes) => h('div', null, h('p', { class: 'caption' }, caption), nodes);

export const asText = (value) => (typeof value === 'string' ? value : JSON.stringify(value, null, 2));

/** A list of names and values. A value that is empty is left out with its name. */
export function facts(pairs) {
  const shown = pairs.filter(([, value]) => (value ?? '').length !== 0);
  return h('dl', { class: 'facts' }, shown.map(([name, value]) => h('div', null, h('dt', null, name), h('dd', null, value))));
}

let ids = 0;
export const newId = (name) => `${name}-${(ids += 1)}`;

export function labelled(label, input, hint) {
  input.id ||= newId('field');
  const about = hint ? h('span', { class: 'hint', id: `${input.id}-hint` }, hint) : null;
  if (about) input.setAttribute('aria-describedby', about.id);
  return h('div', { class: 'field' }, h('label', { for: input.id }, label), input, about);
}

/** Resolves to whether the person agreed. */
export function confirmed(question, yes, no) {
  return new Promise((resolve) => {
    const title = h('h2', { id: newId('question') }, question);
    const agree = button(yes, () => dialog.close('yes'), { class: 'danger' });
    const keep = button(no, () => dialog.close('no'), { autofocus: true });
    const onclose = () => {
      dialog.remove();
      resolve(dialog.returnValue === 'yes');
    };
    const dialog = h('dialog', { 'aria-labelledby': title.id, onclose }, title, h('div', { class: 'actions' }, keep, agree));
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
  const close = button('Dismiss', () => fill(region));
  return fill(region, h('div', { class: 'notice' }, h('p', null, text), action ?? null, close));
}
