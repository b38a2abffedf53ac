// Files that an agent attached: saved, never opened by the page.

import { safeUrl } from './markdown.js';
import { button, exact, h } from './dom.js';
import { fromBase64, size } from './times.js';

/** Saves bytes under a name. The type is neutral, so that no browser shows them as a page of this origin. */
export function save(bytes, name) {
  const url = URL.createObjectURL(new Blob([bytes], { type: 'application/octet-stream' }));
  const anchor = h('a', { href: url, download: name });
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export const cleanName = (name) => (name ?? '').replace(/^.*[/\\]/, '').replace(/[\p{C}<>:"|?*]/gu, '_') || 'file';

/** The control of a part with a file, or null for another part. */
export function fileOf(part) {
  const name = cleanName(part.filename);
  if (part.raw !== undefined) {
    const bytes = fromBase64(part.raw);
    return button([`Save ${name}`, h('span', { class: 'hint' }, ` ${size(bytes.length)}, ${part.mediaType || 'unknown type'}`)], () => save(bytes, name));
  }
  if (part.url === undefined) return null;
  const url = safeUrl(part.url);
  return url ? h('a', { href: url.href, rel: 'noopener noreferrer', target: '_blank' }, `${name} at ${url.host}`) : h('span', null, 'A file at ', h('code', null, exact(part.url.slice(0, 200))));
}
