// Times and amounts in words.

import { h } from './dom.js';

const UNITS = [['day', 86_400], ['hour', 3_600], ['minute', 60], ['second', 1]];
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'always' });

/** A time as seen from now, such as "3 minutes ago" or "in 2 hours". Takes epoch milliseconds. */
export function fromNow(time) {
  const seconds = (time - Date.now()) / 1000;
  const [unit, size] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? UNITS.at(-1);
  return relative.format(Math.round(seconds / size), unit);
}

/** A time as seen from now, which `moveOn` keeps right. Takes RFC 3339. */
export const moving = (time) => h('time', { class: 'moving', dateTime: time, title: clock(time) }, fromNow(Date.parse(time)));

export function moveOn() {
  if (!document.hidden) for (const node of document.querySelectorAll('time.moving')) node.textContent = fromNow(Date.parse(node.dateTime));
}

/** A time of day with its date. Takes RFC 3339. */
export const clock = (time) => new Date(time).toLocaleString('en', { dateStyle: 'medium', timeStyle: 'medium' });

/** A duration in seconds, such as "250 ms", "3.2 s" or "4 min". */
export function duration(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 120) return `${Number(seconds.toPrecision(2))} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

export function size(bytes) {
  const units = ['bytes', 'KiB', 'MiB', 'GiB'];
  let index = 0;
  while (bytes >= 1024 && index < units.length - 1) [bytes, index] = [bytes / 1024, index + 1];
  return `${Number(bytes.toPrecision(3))} ${units[index]}`;
}

export const amount = (number) => number.toLocaleString('en');

/** US dollars, with as many digits as a small amount needs. */
export const money = (dollars) => `$${dollars.toFixed(dollars && dollars < 0.1 ? 4 : 2)}`;

export function base64(bytes) {
  let text = '';
  for (let from = 0; from < bytes.length; from += 32_768) text += String.fromCharCode(...bytes.subarray(from, from + 32_768));
  return btoa(text);
}

/** The bytes of a base64 text. Raises where it is none. */
export const fromBase64 = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
