// The admin API: how is it asked, and what when it refuses?

const BASE = "/admin/v1";

/** What the gateway answered instead. `status` 0: it could not be reached. */
export class ApiError extends Error {
  constructor(status, error = {}) {
    super(error.message ?? "The gateway does not answer. Is it running?");
    this.status = status;
    this.code = error.code ?? null;
    this.param = error.param ?? null;
  }
}

let signedOut = () => {};

/** `act` is called whenever the session turns out to have ended. */
export function whenSignedOut(act) {
  signedOut = act;
}

export const get = (path, query, signal) => ask("GET", path, { query, signal });
export const post = (path, body) => ask("POST", path, { body: body ?? {} });
export const put = (path, body) => ask("PUT", path, { body });
export const patch = (path, body) => ask("PATCH", path, { body });
export const remove = (path, query) => ask("DELETE", path, { query });

/** Path segments that may hold anything; a target's slashes stay slashes. */
export const segment = (text) => text.split("/").map(encodeURIComponent).join("/");

/** The address of a question, without what is empty. */
export function address(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(given).toString();
  return BASE + path + (text && `?${text}`);
}

async function ask(method, path, { query, body, signal }) {
  const headers = body === undefined ? {} : { "content-type": "application/json" };
  const options = { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(address(path, query), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0);
  }
  if (answer.ok) return answer.json();
  const error = await errorOf(answer);
  if (answer.status === 401 && path !== "/session") signedOut();
  throw error;
}

/** The error of an answer, whatever its body is. */
export async function errorOf(answer) {
  try {
    const { error } = await answer.json();
    return new ApiError(answer.status, error);
  } catch {
    return new ApiError(answer.status, { message: `The gateway answered with status ${answer.status}.` });
  }
}

/** All pages of a list. For lists that people make by hand, not for calls. */
export async function all(path, query = {}, signal = undefined) {
  const rows = [];
  let after = null;
  do {
    const page = await get(path, { ...query, limit: 1000, after }, signal);
    rows.push(...page.data);
    after = page.next;
  } while (after);
  return rows;
}
