// Hugging Face's client, as it calls text-embeddings-inference and TGI by their address.

import assert from "node:assert";
import { InferenceClient } from "@huggingface/inference";
import { Calls, KEY, QUESTION, URL, V1 } from "../calls.js";

const calls = new Calls("@huggingface/inference");
const client = (endpointUrl) => new InferenceClient(KEY, { endpointUrl });
const ASKED = {
  model: "auto",
  messages: [{ role: "user", content: QUESTION }],
  max_tokens: 24,
  temperature: 0,
};

calls.works("InferenceClient(endpointUrl).chatCompletion", async () => {
  const answer = await client(V1).chatCompletion(ASKED);
  assert(answer.choices[0].message.content.includes("Tokyo"));
});

calls.works("InferenceClient(endpointUrl).chatCompletionStream", async () => {
  let text = "";
  for await (const chunk of client(V1).chatCompletionStream(ASKED)) text += chunk.choices[0]?.delta.content ?? "";
  assert(text.includes("Tokyo"));
});

calls.works("InferenceClient(endpointUrl + /embed).featureExtraction", async () => {
  const rows = await client(`${URL}/embed`).featureExtraction({ inputs: "a text" });
  assert.equal(rows[0].length, 384);
});

await calls.run();
