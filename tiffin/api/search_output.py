"""The output of `/v1/responses` with `file_search`: the pipeline's events in, OpenAI's out."""

import secrets
from collections.abc import Iterator, Sequence

from models.values import Finished, TextDelta, TokenUsage
from tiffin.api.responses_output import Output
from tiffin.api.schemas.file_search import FileCitation, FileResult, FileSearchCall
from tiffin.api.schemas.responses_answer import Response, ResponseEvent
from tiffin.core.context import Bill
from tiffin.core.values import Citation, RagAnswer, RagDelta, RagEvent, RagSources, Source


class SearchOutput(Output):
    """A response that begins with a search; its message's annotations are the citations."""

    def __init__(
        self, response: Response, bill: Bill, question: str, *, with_results: bool
    ) -> None:
        super().__init__(response, bill)
        self._call = FileSearchCall(
            id=f"fs_{secrets.token_hex(16)}", status="in_progress", queries=[question]
        )
        self._with_results = with_results
        self._sources: dict[int, Source] = {}
        self._cited: set[tuple[int, int, int]] = set()

    def start(self) -> Iterator[ResponseEvent]:
        """The events before the first of the pipeline's."""
        yield from super().start()
        yield self._added(self._call)
        for state in ("in_progress", "searching"):
            yield self._of_call(state)

    def add_found(self, event: RagEvent) -> Iterator[ResponseEvent]:
        """The events that one of the pipeline's becomes."""
        match event:
            case RagSources():
                yield from self._found(event.sources)
            case RagDelta():
                yield from self.add(TextDelta(event.text))
                yield from self._cite(event.citations)
            case RagAnswer():
                yield from self._ended(event)

    def _found(self, sources: Sequence[Source]) -> Iterator[ResponseEvent]:
        """Close the search. The answer may yet cite a passage that did not reach the model."""
        self._sources |= {source.index: source for source in sources}
        if self._with_results:
            self._call.results = [_result(source) for source in self._sources.values()]
        if self._call.status == "in_progress":
            self._call.status, self._open = "completed", False
            yield self._of_call("completed")
            yield self._event("response.output_item.done", output_index=0, item=self._call)

    def _ended(self, answer: RagAnswer) -> Iterator[ResponseEvent]:
        yield from self._found(answer.sources)
        yield from self._cite(answer.citations)
        used = answer.usage
        usage = TokenUsage(
            prompt_tokens=used.prompt_tokens,
            completion_tokens=used.completion_tokens,
            cached_tokens=used.cached_tokens,
        )
        yield from self.add(Finished(answer.finish_reason, usage))

    def _cite(self, citations: Sequence[Citation]) -> Iterator[ResponseEvent]:
        """Annotate the message with the citations that it does not have yet."""
        for one in citations:
            source, place = self._sources.get(one.source), (one.start, one.end, one.source)
            if source is None or place in self._cited:
                continue
            self._cited.add(place)
            yield self.annotate(
                FileCitation(
                    file_id=source.document_id or "", filename=source.title or "", index=one.end
                )
            )

    def _of_call(self, state: str) -> ResponseEvent:
        kind = f"response.file_search_call.{state}"
        return self._event(kind, output_index=0, item_id=self._call.id)


def _result(source: Source) -> FileResult:
    return FileResult(
        file_id=source.document_id or "",
        filename=source.title or "",
        score=source.score,
        text=source.text,
        attributes=source.attributes,
        page=source.page,
        headings=source.headings,
    )
