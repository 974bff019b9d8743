// Requests of the playground: the same that any client makes, with the key of a caller.

import { ApiError, errorOf } from "../api.js";
import { events } from "./eventstream.js";

/** The models that a key may use. */
export async function models(key) {
  const answer = await ask("/v1/models", { method: "GET", key });
  return (await answer.json()).data;
}

/** What would become of the call. */
export async function explain({ key, fresh, body }) {
  const answer = await ask("/v1/explain", { key, fresh, body });
  return answer.json();
}

/** Make the call: `arrived` is given each piece of text. The call's id; errors carry it too. */
export async function send({ key, fresh, body }, arrived, signal) {
  const answer = await ask("/v1/chat/completions", { key, fresh, body, signal });
  const id = answer.headers.get("x-request-id");
  try {
    if (!body.stream) {
      const { choices } = await answer.json();
      arrived(textOf(choices?.[0]?.message));
      return id;
    }
    for await (const data of events(answer.body)) {
      if (data === "[DONE]") break;
      const event = JSON.parse(data);
      if (event.error) throw new ApiError(answer.status, event.error);
      arrived(textOf(event.choices?.[0]?.delta));
    }
    return id;
  } catch (error) {
    error.callId = id;
    throw error;
  }
}

/** What a message says; tools that it calls are shown as they are. */
function textOf(message) {
  const tools = message?.tool_calls ? JSON.stringify(message.tool_calls) : "";
  return (message?.content ?? "") + (message?.refusal ?? "") + tools;
}

async function ask(path, { method = "POST", key, fresh, body, signal }) {
  const headers = { authorization: `Bearer ${key}`, ...(body && { "content-type": "application/json" }), ...(fresh && { "x-sluice-cache": "off" }) };
  let answer;
  try {
    // The session's cookie is no business of a call's.
    answer = await fetch(path, { method, headers, signal, credentials: "omit", body: body && JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0);
  }
  if (answer.ok) return answer;
  const error = await errorOf(answer);
  error.callId = answer.headers.get("x-request-id");
  throw error;
}
