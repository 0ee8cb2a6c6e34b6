"""An LLM reads a kept question, a new one, and the sentence that supports the kept answer.

Called by `lab.cache.likelihood`. Each pass has examples before it, which are read once. The prompts
are ChatML, and were written before any pair was read.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

_TEXT = (
    "The old bridge over the Aller was built in 1904 by the engineer Karl Voss, who had studied in "
    "Vienna, for 2 million marks."
)
_PAIRS = (
    ("Who built the old bridge over the Aller?",
     "Which engineer was the old Aller bridge constructed by?", "Yes"),
    ("In what year was the old bridge over the Aller built?",
     "In what year was the old bridge over the Aller repaired?", "No"),
    ("How much did the bridge cost?", "What sum was paid for the bridge?", "Yes"),
    ("Where had Karl Voss studied?", "What had Karl Voss studied?", "No"),
)  # fmt: skip
_ANSWERS = (
    ("Who built the bridge over the Aller?", "Karl Voss"),
    ("In what year was it built?", "1904"),
    ("How long is the bridge?", "not said"),
    ("What did the bridge over the Aller cost?", "2 million marks"),
)
_BOTH = "\nDoes one answer fit both questions? Yes or no?"
_SHORT = 'Answer in a few words of the text. If it does not say, answer "not said".\nQuestion: '
_SYSTEM, _USER = "<|im_start|>system\n", "<|im_start|>user\n"
_ANSWER, _END = "<|im_start|>assistant\n", "<|im_end|>\n"

Row = NDArray[np.float32]


class Group(NamedTuple):
    """A kept question, its support and answer, and the pairs that it is in, by position."""

    support: str
    asked: str
    answer: str
    pairs: list[int]


class Reader:
    """An LLM that has read examples."""

    def __init__(self, folder: Path, examples: str) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self._layer = round(self._model.config.num_hidden_layers * 5 / 6)
        self._cache = self._read([self.ids(examples)], DynamicCache()).past_key_values

    def ids(self, text: str) -> list[int]:
        """The tokens of a text."""
        found: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids
        return found

    def read(self, start: str, ends: Sequence[list[int]]) -> Iterator[tuple[Any, Row]]:
        """Reads a start, and each end after it.

        Yields the log probabilities (end + 1, vocabulary) of what follows the start and each token
        of the end, and the states of its last token.
        """
        *first, joint = self.ids(start)
        cache = self._read([first], copy.deepcopy(self._cache)).past_key_values
        cache.batch_repeat_interleave(len(ends))
        output = self._read([[joint, *end] for end in ends], cache)
        for at, end in enumerate(ends):
            states = output.last_hidden_state[at, : len(end) + 1]
            with torch.inference_mode():
                logits = torch.log_softmax(self._model.lm_head(states), -1)
            yield logits, output.hidden_states[self._layer][at, len(end)].numpy()

    def _read(self, rows: Sequence[list[int]], cache: Any) -> Any:  # noqa: ANN401
        """Rows are filled up behind, where nothing looks."""
        longest = max(map(len, rows))
        filled = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
        with torch.inference_mode():
            return self._model.model(filled, past_key_values=cache, output_hidden_states=True)


def judged() -> str:
    """The examples of yes and no."""
    turns = [
        f"{_USER}Text: {_TEXT}\nQuestion 1: {one}\nQuestion 2: {other}{_BOTH}{_END}"
        f"{_ANSWER}{word}{_END}"
        for one, other, word in _PAIRS
    ]
    return f"{_SYSTEM}You compare questions about a text.{_END}{''.join(turns)}"


def answered() -> str:
    """The examples of short answers."""
    turns = [f"{_SHORT}{question}{_END}{_ANSWER}{short}{_END}" for question, short in _ANSWERS]
    start = f"{_SYSTEM}You answer questions about a text.{_END}{_USER}Text: {_TEXT}\n\n"
    return start + _USER.join(turns)


def verdicts(reader: Reader, group: Group, again: Sequence[str]) -> Iterator[Row]:
    """Yes or no to each new question, its least likely token, and the states."""
    tail = reader.ids(_BOTH + _END + _ANSWER)
    yes, no = (reader.ids(word)[0] for word in ("Yes", "No"))
    rows = [reader.ids(f" {question}") for question in again]
    start = f"{_USER}Text: {group.support}\nQuestion 1: {group.asked}\nQuestion 2:"
    found = reader.read(start, [[*row, *tail] for row in rows])
    for row, (logits, states) in zip(rows, found, strict=True):
        least = min(float(logits[at, token]) for at, token in enumerate(row))
        yield np.array([float(logits[-1, yes] - logits[-1, no]), least, *states], np.float32)


def likelihoods(reader: Reader, group: Group, again: Sequence[str]) -> Iterator[Row]:
    """How much less likely the kept answer is to each new question than to the kept one."""
    answer = reader.ids(group.answer)
    prompts = [f"{_SHORT}{question}{_END}{_ANSWER}" for question in (group.asked, *again)]
    ends = [[*reader.ids(prompt), *answer] for prompt in prompts]
    found = reader.read(f"{_USER}Text: {group.support}\n\n", ends)
    after = range(-len(answer) - 1, -1)
    kept, *sums = (
        sum(float(logits[at, token]) for at, token in zip(after, answer, strict=True))
        for logits, _ in found
    )
    yield from (np.array([likely - kept], np.float32) for likely in sums)


PASSES: tuple[tuple[Callable[[], str], Callable[..., Iterator[Row]]], ...] = (
    (judged, verdicts),
    (answered, likelihoods),
)
"""What comes before, and what is asked: of a reader, a group and the new questions, a row each."""
