// Numbers, money and times: how are they written? In the reader's own language and zone.

const LOCALE = navigator.languages?.length ? navigator.languages : undefined;
const NANO = 1e9;
const formats = new Map();

function format(kind, options) {
  const key = kind.name + JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new kind(LOCALE, options));
  return formats.get(key);
}

const numberFormat = (options) => format(Intl.NumberFormat, options);
const timeFormat = (options) => format(Intl.DateTimeFormat, options);
const DASH = "–";

/** 1,234,567 */
export const whole = (value) => (value === null || value === undefined ? DASH : numberFormat({ maximumFractionDigits: 0 }).format(value));

/** 1.2M */
export function short(value) {
  if (value === null || value === undefined) return DASH;
  return numberFormat({ notation: "compact", maximumSignificantDigits: value < 1000 ? 4 : 3 }).format(value);
}

/** 12.3% of a share; very small ones are not nothing. */
export function percent(share, digits = 1) {
  if (share === null || share === undefined || Number.isNaN(share)) return DASH;
  return numberFormat({ style: "percent", maximumFractionDigits: digits }).format(share);
}

/** Money of nano-dollars: cents where there are dollars, more digits where there are none. */
export function money(nano) {
  if (nano === null || nano === undefined) return DASH;
  const dollars = nano / NANO;
  const size = Math.abs(dollars);
  if (dollars !== 0 && size < 0.1) return dollarsWith({ maximumSignificantDigits: 3 }, dollars);
  return dollarsWith({ minimumFractionDigits: 2, maximumFractionDigits: 2 }, dollars);
}

/** Money where there is little room: $12.3K */
export function shortMoney(nano) {
  const dollars = (nano ?? 0) / NANO;
  if (Math.abs(dollars) < 1000) return money(nano);
  return dollarsWith({ notation: "compact", maximumSignificantDigits: 3 }, dollars);
}

/** Every digit of it. */
export const exactMoney = (nano) => (nano === null || nano === undefined ? DASH : dollarsWith({ minimumFractionDigits: 2, maximumFractionDigits: 9 }, nano / NANO));

/** Money of an axis that ends at `most`: as few digits as tell its marks apart. */
export function axisMoney(nano, most) {
  const dollars = nano / NANO;
  if (dollars && most >= 0.1 * NANO && most < 10 * NANO) return dollarsWith({ minimumFractionDigits: 2 }, dollars);
  if (Math.abs(dollars) >= 1000) return dollarsWith({ notation: "compact", maximumSignificantDigits: 3 }, dollars);
  return dollarsWith({ maximumSignificantDigits: 3, minimumFractionDigits: 0 }, dollars);
}

function dollarsWith(options, dollars) {
  return numberFormat({ style: "currency", currency: "USD", currencyDisplay: "narrowSymbol", ...options }).format(dollars);
}

/** 850 ms, 1.24 s, 2 min 5 s */
export function duration(ms) {
  if (ms === null || ms === undefined) return DASH;
  if (ms < 10) return `${numberFormat({ maximumFractionDigits: 1 }).format(ms)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${numberFormat({ maximumFractionDigits: seconds < 10 ? 2 : 1 }).format(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} days`;
}

export function bytes(count) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
  const power = count > 0 ? Math.min(units.length - 1, Math.floor(Math.log10(count) / 3)) : 0;
  const unit = { style: "unit", unit: units[power], unitDisplay: "short", maximumSignificantDigits: 3 };
  return numberFormat(unit).format(count / 10 ** (3 * power));
}

/** A moment of today by its time, others by their day. */
export function moment(ms, zone = undefined) {
  if (ms === null || ms === undefined) return DASH;
  const near = Math.abs(Date.now() - ms) < 20 * 3600e3;
  const options = near ? { timeStyle: "medium" } : { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" };
  return timeFormat({ ...options, timeZone: zone }).format(ms);
}

export const fullTime = (ms) => (ms === null || ms === undefined ? DASH : timeFormat({ dateStyle: "medium", timeStyle: "long" }).format(ms));
export const day = (ms, zone = undefined) => (ms === null || ms === undefined ? DASH : timeFormat({ dateStyle: "medium", timeZone: zone }).format(ms));

/** A bin of a chart: the mark of an axis, or the head of a tooltip. */
export function bin(ms, step, zone, long = false) {
  const date = { day: "numeric", month: "short", ...(long ? { weekday: "short" } : {}) };
  const options = step === "hour" ? { hour: "2-digit", minute: "2-digit", ...(long ? date : {}) } : date;
  return timeFormat({ ...options, timeZone: zone }).format(ms);
}

const STEPS = [[60, "second"], [60, "minute"], [24, "hour"], [7, "day"], [4.35, "week"], [12, "month"], [Infinity, "year"]];

/** 3 minutes ago, in 2 days */
export function ago(ms) {
  if (ms === null || ms === undefined) return "never";
  let amount = (ms - Date.now()) / 1000;
  for (const [size, unit] of STEPS) {
    if (Math.abs(amount) < size) return format(Intl.RelativeTimeFormat, { numeric: "auto" }).format(Math.round(amount), unit);
    amount /= size;
  }
  return DASH;
}
