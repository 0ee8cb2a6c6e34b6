// Vercel's AI SDK with its OpenAI provider, which speaks `/v1/responses` unless told otherwise.

import assert from "node:assert";
import { createOpenAI } from "@ai-sdk/openai";
import { Output, embedMany, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { Calls, EMBEDDER, KEY, QUESTION, V1 } from "../calls.js";

const openai = createOpenAI({ baseURL: V1, apiKey: KEY });
const calls = new Calls("ai");

const ASKED = { prompt: QUESTION, temperature: 0, maxOutputTokens: 60, maxRetries: 0 };
const CITY = Output.object({ schema: z.object({ name: z.string().max(12), capital: z.boolean() }) });
const weather = tool({
  description: "The weather of a city.",
  inputSchema: z.object({ city: z.string().max(12) }),
  execute: async () => "sunny, 21 degrees",
});
// The first step must call the tool, the second one answers.
const TOOLS = {
  tools: { weather },
  stopWhen: stepCountIs(2),
  prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber ? "none" : "required" }),
};

calls.works("generateText", async () => {
  const { text, usage } = await generateText({ model: openai("auto"), ...ASKED });
  assert(text.includes("Tokyo"));
  assert(usage.totalTokens);
});

calls.works("streamText", async () => {
  let text = "";
  for await (const piece of streamText({ model: openai("auto"), ...ASKED }).textStream) text += piece;
  assert(text.includes("Tokyo"));
});

calls.works("generateText(output: Output.object)", async () => {
  const { output } = await generateText({ model: openai("auto"), ...ASKED, output: CITY });
  assert.equal(typeof output.capital, "boolean");
});

calls.works("generateText(tools), a second step with the result", async () => {
  const { steps } = await generateText({ model: openai("auto"), ...ASKED, ...TOOLS });
  assert.equal(steps.length, 2);
  assert(steps[0].toolCalls[0].input.city);
});

async function secondTurn(more) {
  const asked = { model: openai("auto"), temperature: 0, maxOutputTokens: 24, maxRetries: 0, ...more };
  const first = { role: "user", content: QUESTION };
  const { response } = await generateText({ ...asked, messages: [first] });
  const messages = [first, ...response.messages, { role: "user", content: "And of Italy?" }];
  assert((await generateText({ ...asked, messages })).text);
}

calls.fails(
  "generateText with the turns before",
  {
    error: "store: false",
    why: "it refers to its own turn by id (`item_reference`), and nothing is stored: 400 that says what to do, which is `providerOptions: {openai: {store: false}}`",
  },
  () => secondTurn({}),
);

calls.works("generateText with the turns before, providerOptions: {openai: {store: false}}", () =>
  secondTurn({ providerOptions: { openai: { store: false } } }),
);

calls.works("openai.chat: generateText, streamText, tools with a second step", async () => {
  const model = openai.chat("auto");
  const { text } = await generateText({ model, ...ASKED });
  assert(text.includes("Tokyo"));
  let streamed = "";
  for await (const piece of streamText({ model, ...ASKED }).textStream) streamed += piece;
  assert.equal(streamed, text);
  const { steps } = await generateText({ model, ...ASKED, ...TOOLS });
  assert.equal(steps.length, 2);
});

calls.works("embedMany", async () => {
  const { embeddings } = await embedMany({ model: openai.embedding(EMBEDDER), values: ["a", "b"] });
  assert.deepEqual(embeddings.map((one) => one.length), [384, 384]);
});

await calls.run();
