// LangChain's JavaScript client of OpenAI.

import assert from "node:assert";
import { HumanMessage, ToolMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";
import { z } from "zod";
import { Calls, EMBEDDER, KEY, QUESTION, V1 } from "../calls.js";

const calls = new Calls("@langchain/openai");
const made = (more = {}) =>
  new ChatOpenAI({
    model: "auto",
    apiKey: KEY,
    temperature: 0,
    maxTokens: 60,
    maxRetries: 0,
    configuration: { baseURL: V1 },
    ...more,
  });
const CITY = z.object({ name: z.string().max(12), capital: z.boolean() });

calls.works("ChatOpenAI.invoke, stream", async () => {
  const answer = await made().invoke(QUESTION);
  assert(answer.content.includes("Tokyo"));
  let text = "";
  for await (const chunk of await made().stream(QUESTION)) text += chunk.content;
  assert.equal(text, answer.content);
});

calls.works("ChatOpenAI({useResponsesApi: true}).invoke, stream", async () => {
  const model = made({ useResponsesApi: true });
  assert((await model.invoke(QUESTION)).text.includes("Tokyo"));
  let text = "";
  for await (const chunk of await model.stream(QUESTION)) text += chunk.text;
  assert(text.includes("Tokyo"));
});

calls.works("ChatOpenAI.withStructuredOutput(zod)", async () => {
  const answer = await made().withStructuredOutput(CITY).invoke(QUESTION);
  assert.equal(typeof answer.capital, "boolean");
});

for (const [name, more] of [
  ["ChatOpenAI.bindTools, a ToolMessage sent back", {}],
  ["ChatOpenAI({useResponsesApi: true}).bindTools, a ToolMessage sent back", { useResponsesApi: true }],
]) {
  calls.works(name, async () => {
    const schema = z.object({ city: z.string().max(12) });
    const weather = tool(() => "sunny", { name: "weather", description: "The weather.", schema });
    const turns = [new HumanMessage("How is the weather in Paris?")];
    const answer = await made(more).bindTools([weather], { tool_choice: "weather" }).invoke(turns);
    assert(answer.tool_calls[0].args.city);
    const result = new ToolMessage({ content: "sunny", tool_call_id: answer.tool_calls[0].id });
    await made(more).bindTools([weather]).invoke([...turns, answer, result]);
  });
}

calls.works("OpenAIEmbeddings.embedDocuments, embedQuery", async () => {
  const model = new OpenAIEmbeddings({ model: EMBEDDER, apiKey: KEY, configuration: { baseURL: V1 } });
  assert.deepEqual((await model.embedDocuments(["a", "b"])).map((one) => one.length), [384, 384]);
  assert.equal((await model.embedQuery("a")).length, 384);
});

await calls.run();
