// The official Node SDK against a running gateway, as unchanged programs use it.
import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.SLUICE_BASE_URL, apiKey: process.env.SLUICE_KEY });
const TEXT = 'Grüße, 世界 🌍! Two\nlines and \\ a "quote".';
const WEATHER = {
  type: "function",
  function: {
    name: "get_weather",
    parameters: {
      type: "object",
      properties: { city: { type: "string" } },
      required: ["city"],
    },
  },
};
const CALL = 'call get_weather {"city": "Zürich"}';

const user = (content = TEXT) => [{ role: "user", content }];

test("a plain call answers with usage", async () => {
  const answer = await client.chat.completions.create({ model: "echo", messages: user() });
  assert.equal(answer.choices[0].message.content, TEXT);
  assert.equal(answer.choices[0].finish_reason, "stop");
  const { prompt_tokens, completion_tokens, total_tokens } = answer.usage;
  assert.equal(prompt_tokens + completion_tokens, total_tokens);
  assert.match(answer._request_id, /^call_/);
});

for (const asked of [true, false]) {
  test(`a stream ${asked ? "with" : "without"} usage`, async () => {
    const stream = await client.chat.completions.create({
      model: "echo",
      messages: user(),
      stream: true,
      ...(asked && { stream_options: { include_usage: true } }),
    });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    const choices = chunks.flatMap((chunk) => chunk.choices);
    assert.equal(choices.map((choice) => choice.delta.content ?? "").join(""), TEXT);
    assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1);
    const reasons = choices.map((choice) => choice.finish_reason).filter(Boolean);
    assert.deepEqual(reasons, ["stop"]);
    assert.equal(chunks.filter((chunk) => chunk.usage).length, asked ? 1 : 0);
    assert.equal(chunks.at(-1).choices.length, asked ? 0 : 1);
  });
}

test("the stream helper gathers the final answer", async () => {
  const stream = client.chat.completions.stream({ model: "echo", messages: user() });
  let text = "";
  stream.on("content", (delta) => (text += delta));
  assert.equal(await stream.finalContent(), TEXT);
  assert.equal(text, TEXT);
});

test("a stream that is left early is closed", async () => {
  const messages = user("word ".repeat(100));
  const stream = await client.chat.completions.create({ model: "echo-slow", messages, stream: true });
  let seen = 0;
  for await (const chunk of stream) {
    assert.ok(chunk.id);
    if (++seen === 3) break;
  }
  assert.ok(stream.controller.signal.aborted);
});

test("tools make the full round trip", async () => {
  const messages = user(CALL);
  const asked = await client.chat.completions.create({ model: "echo", messages, tools: [WEATHER] });
  const { message, finish_reason } = asked.choices[0];
  assert.equal(finish_reason, "tool_calls");
  const [call] = message.tool_calls;
  assert.equal(call.function.name, "get_weather");
  assert.deepEqual(JSON.parse(call.function.arguments), { city: "Zürich" });

  messages.push(message, { role: "tool", tool_call_id: call.id, content: "12 °C, foehn" });
  const told = await client.chat.completions.create({ model: "echo", messages, tools: [WEATHER] });
  assert.match(told.choices[0].message.content, /12 °C, foehn/);
});

test("the tool runner calls a function and ends", async () => {
  const cities = [];
  const weather = {
    type: "function",
    function: {
      ...WEATHER.function,
      parse: JSON.parse,
      function: ({ city }) => {
        cities.push(city);
        return "12 °C, foehn";
      },
    },
  };
  const messages = user(`${CALL}\ncall get_weather {"city": "Genève"}`);
  const runner = client.chat.completions.runTools({
    model: "echo",
    messages,
    tools: [weather],
    stream: true,
  });
  assert.match(await runner.finalContent(), /12 °C, foehn/);
  assert.deepEqual(cities, ["Zürich", "Genève"]);
});

test("an answer is parsed by its JSON schema", async () => {
  const schema = {
    type: "object",
    properties: { steps: { type: "array", items: { type: "string" } }, answer: { type: "integer" } },
    required: ["steps", "answer"],
    additionalProperties: false,
  };
  const answer = await client.chat.completions.create({
    model: "echo",
    messages: user("2 + 2?"),
    response_format: { type: "json_schema", json_schema: { name: "sum", strict: true, schema } },
  });
  const parsed = JSON.parse(answer.choices[0].message.content);
  assert.ok(Array.isArray(parsed.steps));
  assert.ok(Number.isInteger(parsed.answer));
});

test("images are content parts", async () => {
  const url = "data:image/png;base64,iVBORw0KGgo=";
  const parts = [
    { type: "text", text: "What is this?" },
    { type: "image_url", image_url: { url } },
  ];
  const answer = await client.chat.completions.create({ model: "echo", messages: user(parts) });
  assert.match(answer.choices[0].message.content, /What is this\?.*\[image\]/s);
});

test("models are listed and retrieved", async () => {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.ok(names.includes("echo/echo"), names.join());
  assert.equal((await client.models.retrieve("echo/echo")).id, "echo/echo");
});

test("headers of the gateway can be read", async () => {
  const { response } = await client.chat.completions
    .create({ model: "echo", messages: user() })
    .withResponse();
  assert.equal(response.headers.get("x-sluice-provider"), "echo");
  assert.equal(response.headers.get("x-sluice-call-id"), response.headers.get("x-request-id"));
});
