// OpenAI's own JavaScript client.

import assert from "node:assert";
import OpenAI, { toFile } from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { Calls, EMBEDDER, KEY, QUESTION, V1 } from "../calls.js";

const client = new OpenAI({ baseURL: V1, apiKey: KEY, maxRetries: 0 });
const calls = new Calls("openai");

const MESSAGES = [{ role: "user", content: QUESTION }];
const CHAT = { model: "auto", messages: MESSAGES, temperature: 0, max_tokens: 24 };
const ASKED = { model: "auto", input: QUESTION, temperature: 0, max_output_tokens: 24 };
const CITY = z.object({ name: z.string().max(12), capital: z.boolean() });
const PLACE = {
  type: "object",
  properties: { city: { type: "string", maxLength: 12 } },
  required: ["city"],
  additionalProperties: false,
};

calls.works("chat.completions.create", async () => {
  const answer = await client.chat.completions.create(CHAT);
  assert(answer.choices[0].message.content.includes("Tokyo"));
});

calls.works("chat.completions.create({stream: true, stream_options})", async () => {
  const options = { stream: true, stream_options: { include_usage: true } };
  let [text, usage] = ["", null];
  for await (const chunk of await client.chat.completions.create({ ...CHAT, ...options })) {
    text += chunk.choices[0]?.delta.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert(text.includes("Tokyo"));
  assert(usage.total_tokens);
});

calls.works("chat.completions.stream", async () => {
  const final = await client.chat.completions.stream(CHAT).finalChatCompletion();
  assert(final.choices[0].message.content.includes("Tokyo"));
});

calls.works("chat.completions.parse(zodResponseFormat)", async () => {
  const format = zodResponseFormat(CITY, "city");
  const answer = await client.chat.completions.parse({ ...CHAT, max_tokens: 60, response_format: format });
  assert.equal(typeof answer.choices[0].message.parsed.capital, "boolean");
});

calls.works("chat.completions.create(tools), the result sent back", async () => {
  const tools = [{ type: "function", function: { name: "weather", parameters: PLACE } }];
  const asked = { ...CHAT, max_tokens: 60, tools };
  const answer = await client.chat.completions.create({ ...asked, tool_choice: "required" });
  const { message } = answer.choices[0];
  assert(JSON.parse(message.tool_calls[0].function.arguments).city);
  const result = { role: "tool", tool_call_id: message.tool_calls[0].id, content: "sunny" };
  const next = await client.chat.completions.create({ ...asked, messages: [...MESSAGES, message, result] });
  assert(next.choices.length);
});

calls.works("responses.create, also with stream: true", async () => {
  assert((await client.responses.create(ASKED)).output_text.includes("Tokyo"));
  const kinds = [];
  for await (const event of await client.responses.create({ ...ASKED, stream: true })) kinds.push(event.type);
  assert.equal(kinds.at(-1), "response.completed");
});

calls.works("responses.parse(zodTextFormat), the output sent back", async () => {
  const asked = { ...ASKED, max_output_tokens: 60 };
  const answer = await client.responses.parse({ ...asked, text: { format: zodTextFormat(CITY, "city") } });
  assert.equal(typeof answer.output_parsed.capital, "boolean");
  const turn = { role: "user", content: "And of Italy?" };
  const input = [{ role: "user", content: QUESTION }, ...answer.output, turn];
  assert((await client.responses.create({ ...asked, input })).output_text);
});

calls.fails(
  "responses.create with an item_reference",
  { error: "store: false", why: "no answer is stored: 400 that says to send the item itself" },
  async () => {
    const { output } = await client.responses.create(ASKED);
    const input = [{ type: "item_reference", id: output[0].id }, { role: "user", content: "Why?" }];
    await client.responses.create({ ...ASKED, input });
  },
);

calls.works("decisions.create", async () => {
  const answer = await client.decisions.create({
    model: "auto",
    input: "The Vell Tower was built in 1931.",
    questions: [
      { type: "predicate", name: "when", instructions: "When was the Vell Tower built?" },
      { type: "choice", instructions: "What was built?", choices: [{ value: "a tower" }, { value: "a ship" }] },
    ],
  });
  assert(answer.answers[0].probability > 0.5);
  assert.equal(answer.answers[1].choice, "a tower");
});

calls.works("embeddings.create, which asks for base64", async () => {
  const answer = await client.embeddings.create({ model: EMBEDDER, input: ["a", "b"] });
  assert.deepEqual(answer.data.map((one) => one.embedding.length), [384, 384]);
  assert(Math.abs(Math.hypot(...answer.data[0].embedding) - 1) < 1e-3);
});

calls.works("models.list", async () => {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert(names.includes("auto"));
});

calls.works("vectorStores.create, files.uploadAndPoll, search, del", async () => {
  const store = await client.vectorStores.create({ name: `js-${Date.now()}` });
  const text = "Lake Baikal in Siberia is 1,642 metres deep.";
  const file = await toFile(Buffer.from(text), "lake.txt", { type: "text/plain" });
  await client.vectorStores.files.uploadAndPoll(store.id, file, { pollIntervalMs: 100 });
  const found = await client.vectorStores.search(store.id, { query: "How deep is the lake?" });
  assert(found.data[0].content[0].text.includes("1,642"));
  await client.vectorStores.delete(store.id);
});

calls.works("errors: NotFoundError, BadRequestError", async () => {
  const unknown = client.chat.completions.create({ ...CHAT, model: "gpt-9" });
  await assert.rejects(unknown, OpenAI.NotFoundError);
  const wrong = client.chat.completions.create({ ...CHAT, temperature: 9 });
  await assert.rejects(wrong, (error) => error instanceof OpenAI.BadRequestError && error.param === "temperature");
});

await calls.run();
