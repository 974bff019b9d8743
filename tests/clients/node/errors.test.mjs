// Errors as the official Node SDK throws them. The models of `fake` fail as they are called;
// test_node_sdk.py is their provider, and counts the requests.
import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI from "openai";

const baseURL = process.env.SLUICE_BASE_URL;
const client = new OpenAI({ baseURL, apiKey: process.env.SLUICE_KEY });

const ask = (model, more = {}, options = {}, by = client) =>
  by.chat.completions.create(
    { model, messages: [{ role: "user", content: "hello" }], ...more },
    options,
  );

const CASES = [
  ["no-such-model", OpenAI.NotFoundError, "model_not_found"],
  ["fake/too-long", OpenAI.BadRequestError, "context_length_exceeded"],
  ["fake/no-money", OpenAI.RateLimitError, "insufficient_quota"],
  ["fake/broken", OpenAI.InternalServerError, "upstream_server_error"],
  ["fake/denied", OpenAI.InternalServerError, "provider_authentication_failed"],
];

for (const [model, kind, code] of CASES) {
  for (const stream of [false, true]) {
    test(`${model}${stream ? ", streamed," : ""} throws ${kind.name}`, async () => {
      await assert.rejects(ask(model, { stream }), (error) => {
        assert.ok(error instanceof kind, `${error.constructor.name}: ${error.message}`);
        assert.equal(error.code, code);
        assert.match(error.requestID, /^call_/);
        return true;
      });
    });
  }
}

test("a wrong key throws AuthenticationError", async () => {
  const stranger = new OpenAI({ baseURL, apiKey: "sk-sluice-wrong" });
  await assert.rejects(ask("echo", {}, {}, stranger), (error) => {
    assert.ok(error instanceof OpenAI.AuthenticationError);
    assert.equal(error.code, "invalid_api_key");
    return true;
  });
});

test("a model that the key may not use throws PermissionDeniedError", async () => {
  const narrow = new OpenAI({ baseURL, apiKey: process.env.SLUICE_NARROW_KEY });
  await assert.rejects(ask("echo", {}, {}, narrow), (error) => {
    assert.ok(error instanceof OpenAI.PermissionDeniedError);
    assert.equal(error.code, "model_not_allowed");
    assert.equal(error.param, "model");
    return true;
  });
});

test("a malformed request throws BadRequestError and names the field", async () => {
  await assert.rejects(ask("echo", { temperature: "hot" }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, "temperature");
    return true;
  });
});

test("an impatient client throws APIConnectionTimeoutError", async () => {
  const options = { timeout: 200, maxRetries: 0 };
  await assert.rejects(ask("fake/silent", {}, options), OpenAI.APIConnectionTimeoutError);
});

test("an error within a stream throws APIError after what came before it", async () => {
  const stream = await ask("fake/breaks-off", { stream: true });
  let text = "";
  const reading = (async () => {
    for await (const chunk of stream) text += chunk.choices[0].delta.content ?? "";
  })();
  await assert.rejects(reading, (error) => {
    assert.ok(error instanceof OpenAI.APIError);
    assert.equal(error.code, "upstream_server_error");
    return true;
  });
  assert.equal(text, "Once upon");
});
