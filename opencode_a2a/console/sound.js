// A short sound where something begins to wait. Off until the person turns it on.

const KEY = 'a2a-console-sound';
let context = null;

export function isSoundOn() {
  try {
    return localStorage.getItem(KEY) === 'on';
  } catch {
    return false; // storage may be refused
  }
}

/** Plays it once where it is turned on: browsers want a click before the first one. */
export function setSound(isOn) {
  try {
    localStorage.setItem(KEY, isOn ? 'on' : 'off');
  } catch {
    return;
  }
  play();
}

/** A browser keeps notes from before the first click, and plays all at once. */
export function play() {
  if (!isSoundOn() || navigator.userActivation?.hasBeenActive === false) return;
  context ??= new AudioContext();
  context.resume();
  for (const [index, frequency] of [660, 880].entries()) {
    const [oscillator, gain] = [context.createOscillator(), context.createGain()];
    const start = context.currentTime + index * 0.16;
    oscillator.frequency.value = frequency;
    gain.gain.setValueAtTime(0.0001, start);
    gain.gain.exponentialRampToValueAtTime(0.12, start + 0.02);
    gain.gain.exponentialRampToValueAtTime(0.0001, start + 0.15);
    oscillator.connect(gain).connect(context.destination);
    oscillator.start(start);
    oscillator.stop(start + 0.16);
  }
}
