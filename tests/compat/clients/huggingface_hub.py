"""Hugging Face's InferenceClient, as it calls text-embeddings-inference and TGI."""

from huggingface_hub import AsyncInferenceClient, InferenceClient

from tests.compat.calls import QUESTION, URL, V1, Calls

calls = Calls("huggingface_hub")

MESSAGES = [{"role": "user", "content": QUESTION}]


@calls.works("InferenceClient(base_url).chat_completion")
def chat() -> None:
    answer = InferenceClient(base_url=V1).chat_completion(MESSAGES, max_tokens=24, temperature=0)
    assert "Tokyo" in (answer.choices[0].message.content or "")


@calls.works("InferenceClient(URL).chat_completion(stream=True)")
def streamed_chat() -> None:
    client = InferenceClient(URL)  # it ends its streams when nobody holds it
    stream = client.chat_completion(MESSAGES, max_tokens=24, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


@calls.works("InferenceClient(base_url).chat.completions.create(model)")
def alias() -> None:
    client = InferenceClient(base_url=V1)
    answer = client.chat.completions.create(model="auto", messages=MESSAGES, max_tokens=24)
    assert answer.choices[0].message.content


@calls.works("AsyncInferenceClient.chat_completion(stream=True)")
async def async_chat() -> None:
    async with AsyncInferenceClient(base_url=V1) as client:
        stream = await client.chat_completion(MESSAGES, max_tokens=24, stream=True)
        assert [chunk async for chunk in stream]


@calls.works("InferenceClient.feature_extraction, also of several texts")
def features() -> None:
    client = InferenceClient(URL)
    assert client.feature_extraction("a text").shape == (1, 384)
    assert client.feature_extraction(["a text", "another"], truncate=True).shape == (2, 384)


@calls.fails(
    "InferenceClient.feature_extraction(normalize=False)",
    error="normalize: false is not possible",
    why="the model's vectors have length 1: 400",
)
def long_features() -> None:
    InferenceClient(URL).feature_extraction("a text", normalize=False)


@calls.fails(
    "InferenceClient.text_generation",
    error="parameters: ",
    why="TGI's own body is not read: 400; use `chat_completion`",
)
def generation() -> None:
    InferenceClient(URL).text_generation("The capital of Japan is", max_new_tokens=5)


@calls.fails(
    "InferenceClient.sentence_similarity",
    error="inputs: ",
    why="the hub's own body is not read: 400; use `feature_extraction`",
)
def similarity() -> None:
    InferenceClient(URL).sentence_similarity("a lake", other_sentences=["a river"])


if __name__ == "__main__":
    calls.run()
