// Scales: which round numbers stand at an axis, and where?

/** Round marks from 0 to at least `most`, about `count` of them. */
export function ticks(most, count = 4) {
  if (!(most > 0)) return [0, 1];
  const raw = most / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((times) => times * power).find((size) => size >= raw * 0.999);
  const marks = [0];
  while (marks.at(-1) < most * 0.999) marks.push(marks.length * step);
  return marks;
}

/** From a value to a height: 0 is at the bottom. */
export const upwards = (most, height) => (value) => height - (Math.max(0, value) / most) * height;

/** The places of `count` bars in a width. */
export function bands(count, width) {
  const room = width / Math.max(1, count);
  const size = Math.max(1, Math.min(56, room * 0.72));
  return { room, size, left: (at) => at * room + (room - size) / 2, middle: (at) => (at + 0.5) * room, at: (x) => Math.max(0, Math.min(count - 1, Math.floor(x / room))) };
}

/** Of so many labels, every which one has room? */
export function everyNth(count, width, labelWidth) {
  const fitting = Math.max(1, Math.floor(width / labelWidth));
  return Math.max(1, Math.ceil(count / fitting));
}
