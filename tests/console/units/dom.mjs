// A document small enough to read: as much as the page's modules use without a browser. Nothing here parses markup.

class Node {
  childNodes = [];
  parentNode = null;

  get textContent() {
    return this.childNodes.map((child) => child.textContent).join('');
  }

  set textContent(text) {
    this.replaceChildren(text);
  }

  get lastChild() {
    return this.childNodes.at(-1) ?? null;
  }

  append(...children) {
    for (const child of children) {
      const node = child instanceof Node ? child : new Text(String(child));
      node.remove();
      node.parentNode = this;
      this.childNodes.push(node);
    }
  }

  remove() {
    if (!this.parentNode) return;
    this.parentNode.childNodes = this.parentNode.childNodes.filter((node) => node !== this);
    this.parentNode = null;
  }

  replaceChildren(...children) {
    for (const child of [...this.childNodes]) child.remove();
    this.append(...children);
  }
}

class Text extends Node {
  constructor(text) {
    super();
    this.text = text;
  }

  get textContent() {
    return this.text;
  }
}

class Element extends Node {
  attributes = {};
  listeners = {};
  dataset = {};

  constructor(tag) {
    super();
    this.tagName = tag.toUpperCase();
  }

  setAttribute(name, value) {
    this.attributes[name] = String(value);
  }

  addEventListener(name, listener) {
    this.listeners[name] = listener;
  }
}

const OWN = ['childNodes', 'parentNode', 'attributes', 'listeners', 'dataset', 'tagName'];

/** All attributes of an element, by whichever way they were set. */
export const attributesOf = (node) => ({
  ...node.attributes,
  ...Object.fromEntries(Object.entries(node).filter(([name]) => !OWN.includes(name))),
});

/** Every element below a node. */
export function* elements(nodes) {
  for (const node of nodes) {
    if (!(node instanceof Element)) continue;
    yield node;
    yield* elements(node.childNodes);
  }
}

/** Nodes as text with tags, for comparisons: classes, titles and what only helps accessibility are left out. */
export function shown(nodes) {
  const LEFT_OUT = ['class', 'title', 'tabIndex', 'role', 'aria-label', 'rel', 'target', 'scope'];
  return nodes
    .map((node) => {
      if (typeof node === 'string') return node;
      if (!(node instanceof Element)) return node.textContent;
      const attributes = Object.entries(attributesOf(node)).filter(([name]) => !LEFT_OUT.includes(name));
      const tag = node.tagName.toLowerCase();
      return `<${tag}${attributes.map(([name, value]) => ` ${name}=${value}`).join('')}>${shown(node.childNodes)}</${tag}>`;
    })
    .join('');
}

globalThis.document = { createElement: (tag) => new Element(tag) };
