// Cohere's own JavaScript client, for reranking.

import assert from "node:assert";
import { CohereClient, CohereClientV2, CohereError } from "cohere-ai";
import { Calls, DEEPEST, KEY, LAKE, PASSAGES, RERANKER, URL } from "../calls.js";

const calls = new Calls("cohere-ai");
const ASKED = { model: RERANKER, query: LAKE, documents: PASSAGES };

calls.works("CohereClient.rerank({returnDocuments: true})", async () => {
  const client = new CohereClient({ token: KEY, environment: URL });
  const { results } = await client.rerank({ ...ASKED, returnDocuments: true });
  assert.equal(results[0].index, DEEPEST);
  assert.equal(results[0].document.text, PASSAGES[DEEPEST]);
});

calls.works("CohereClient.rerank with objects and rankFields", async () => {
  const client = new CohereClient({ token: KEY, environment: URL });
  const documents = PASSAGES.map((text, id) => ({ text, id: String(id), title: "of water" }));
  const { results } = await client.rerank({ ...ASKED, documents, rankFields: ["title", "text"] });
  assert.equal(results[0].index, DEEPEST);
});

calls.works("CohereClientV2.rerank({topN})", async () => {
  const client = new CohereClientV2({ token: KEY, environment: URL });
  const { results } = await client.rerank({ ...ASKED, topN: 2 });
  assert.deepEqual([results[0].index, results.length], [DEEPEST, 2]);
});

calls.works("errors: 404 for a model that is not served", async () => {
  const client = new CohereClientV2({ token: KEY, environment: URL });
  const unknown = client.rerank({ ...ASKED, model: "rerank-v9" });
  await assert.rejects(unknown, (error) => error instanceof CohereError && error.statusCode === 404);
});

await calls.run();
