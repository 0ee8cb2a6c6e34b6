"""Chat templates of five families, and tokenizers with their control tokens, without weights."""

# ruff: noqa: RUF001  DeepSeek writes its tokens with a wide bar

from dataclasses import dataclass

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

CHATML = """
{%- for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}<|im_start|>assistant
"""
LLAMA_3 = """
{{- bos_token }}{% for m in messages -%}
<|start_header_id|>{{ m.role }}<|end_header_id|>

{{ m.content | trim }}<|eot_id|>{% endfor %}<|start_header_id|>assistant<|end_header_id|>

"""
MISTRAL = """
{{- bos_token }}{% for m in messages %}{% if m.role == 'assistant' %} {{ m.content }}</s>
{%- else %}[INST] {{ m.content }} [/INST]{% endif %}{% endfor %}"""
GEMMA = """
{{- bos_token }}{% for m in messages %}<start_of_turn>
{%- if m.role == 'assistant' %}model{% else %}{{ m.role }}{% endif %}
{{ m.content | trim }}<end_of_turn>
{% endfor %}<start_of_turn>model
"""
DEEPSEEK = """
{{- bos_token }}{% for m in messages %}{% if m.role == 'assistant' -%}
<｜Assistant｜>{{ m.content.split('</think>')[-1] }}<｜end▁of▁sentence｜>
{%- else %}<｜User｜>{{ m.content }}{% endif %}{% endfor %}<｜Assistant｜><think>
"""


@dataclass(frozen=True)
class Family:
    """A chat template and its control tokens; those of `steering` are not marked as special."""

    template: str
    special: tuple[str, ...]
    steering: tuple[str, ...] = ()
    harmless: tuple[str, ...] = ()
    of_bytes: bool = True

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """A tokenizer of single characters, or bytes, with these control tokens."""
        letters = sorted(pre_tokenizers.ByteLevel.alphabet())
        if not self.of_bytes:
            letters = ["<unk>", "▁", *(f"<0x{byte:02X}>" for byte in range(256))]
            letters += [chr(code) for code in range(33, 127)]
        vocab = {letter: id_ for id_, letter in enumerate(letters)}
        unknown = {} if self.of_bytes else {"unk_token": "<unk>", "byte_fallback": True}
        made = Tokenizer(models.BPE(vocab, [], **unknown))
        if self.of_bytes:
            made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            made.decoder = decoders.ByteLevel()
        else:
            made.normalizer = normalizers.Replace(" ", "▁")
            made.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
        made.add_tokens([AddedToken(name, normalized=False) for name in self.harmless])
        made.add_tokens([AddedToken(name, normalized=False) for name in self.steering])
        made.add_special_tokens([AddedToken(name, special=True) for name in self.special])
        first = next((name for name in self.special if name != "<unk>"), None)
        return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
            tokenizer_object=made, chat_template=self.template, bos_token=first
        )


FAMILIES = {
    "ChatML": Family(
        CHATML, ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), harmless=("<tool_call>",)
    ),
    "Llama 3": Family(
        LLAMA_3, ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
    ),
    "Mistral": Family(MISTRAL, ("<unk>", "<s>", "</s>", "[INST]", "[/INST]"), of_bytes=False),
    "Gemma": Family(
        GEMMA,
        ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
        harmless=("\n\n", "  ", "<h1>"),
        of_bytes=False,
    ),
    "DeepSeek": Family(
        DEEPSEEK,
        ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
        steering=("<｜User｜>", "<｜Assistant｜>", "<think>", "</think>"),
    ),
}
