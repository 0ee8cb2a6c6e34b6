"""The planner's arithmetic on cases whose answer is known, and what it says when nothing fits."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from models.architecture import scheme_named, weight_bytes
from models.errors import PlacementError
from models.placement.advice import plan_or_advise
from models.placement.arithmetic import Workload, kv_cache_bytes, need
from models.placement.described import parse_model
from models.placement.hardware import parse_gpus
from models.placement.planner import DoesNotFit, make_plan, usable

GB = 10**9
LLAMA_8B = "params=8.03b,layers=32,kv_heads=8,head_dim=128,hidden=4096,intermediate=14336,heads=32"
LLAMA_70B = "params=70.6b,layers=80,kv_heads=8,head_dim=128,hidden=8192,intermediate=28672,heads=64"
QWEN_1B5 = (
    "params=1.54b,layers=28,kv_heads=2,head_dim=128,hidden=1536,intermediate=8960,heads=12,"
    "vocab=151936"
)


def model(text: str, number: int = 1, *, context: int = 8192, parallel: int = 8) -> Workload:
    return parse_model(text, number=number, context_tokens=context, parallel=parallel)


@pytest.mark.parametrize(("dtype", "gigabytes"), [("fp16", 16), ("int8", 8), ("int4", 4)])
def test_the_weights_of_an_8b_take_16_8_or_4_gb(dtype: str, gigabytes: int) -> None:
    assert weight_bytes(8_030_000_000, scheme_named(dtype)) / GB == pytest.approx(
        gigabytes, rel=0.01
    )


def test_an_awq_checkpoint_of_llama_3_8b_is_as_large_as_the_published_one() -> None:
    """5.7 GB: the embedding and the output head stay in 16 bits, and the scales count."""
    assert model(LLAMA_8B + ",dtype=awq").weight_bytes / GB == pytest.approx(5.73, rel=0.02)


def test_a_token_of_llama_3_8b_takes_128_kib_of_cache() -> None:
    shape = model(LLAMA_8B).architecture
    per_token = (kv_cache_bytes(shape, 1280, 2) - kv_cache_bytes(shape, 640, 2)) / 640
    assert per_token == 128 * 1024
    assert kv_cache_bytes(shape, 1280, 2, degree=8) * 8 == kv_cache_bytes(shape, 1280, 2)
    one_head = kv_cache_bytes(shape.model_copy(update={"kv_heads": 1}), 1280, 2)
    assert kv_cache_bytes(shape, 1280, 2, degree=16) == one_head, "a head is never cut"


def test_a_70b_in_fp16_needs_four_80_gb_gpus() -> None:
    made = make_plan([model(LLAMA_70B)], parse_gpus("8x80"))
    assert made.placements[0].degree == 4
    for too_few in ("1x80", "2x80", "3x80"):
        with pytest.raises(DoesNotFit):
            make_plan([model(LLAMA_70B)], parse_gpus(too_few))


def test_three_small_models_share_one_gpu_at_0_3_each() -> None:
    works = [model(f"{QWEN_1B5},gpus=0.3", number, context=4096) for number in (1, 2, 3)]
    made = make_plan(works, parse_gpus("1x24"))
    (gpu,) = made.gpus
    assert [placed.share for placed in made.on(gpu)] == [0.3, 0.3, 0.3]
    assert made.shares(gpu)
    assert 0 < made.left(gpu) < usable(gpu)


def test_a_fourth_share_of_0_3_finds_no_place_on_the_same_gpu() -> None:
    works = [model(f"{QWEN_1B5},gpus=0.3", number) for number in (1, 2, 3, 4)]
    with pytest.raises(DoesNotFit):
        make_plan(works, parse_gpus("1x80"))
    assert len(make_plan(works, parse_gpus("2x80")).placements) == 4


def test_uneven_shares_stay_on_the_one_gpu_there_is() -> None:
    """0.5 + 0.1 + 0.1 + 0.25: BentoML's allocator sends these to GPUs 0, 1, 1 and 2."""
    shares = ("0.5", "0.1", "0.1", "0.25")
    works = [
        model(f"{QWEN_1B5},gpus={share}", number, context=1024, parallel=2)
        for number, share in enumerate(shares)
    ]
    made = make_plan(works, parse_gpus("1x80"))
    assert {placed.gpus[0].device for placed in made.placements} == {"0"}


def test_a_model_that_takes_more_than_its_share_is_refused() -> None:
    with pytest.raises(DoesNotFit, match=r"its share of 0\.1 is 2\.2 GB"):
        make_plan([model(f"{QWEN_1B5},gpus=0.1")], parse_gpus("1x24"))


def test_tensor_parallelism_takes_like_cards_and_no_mig_slices() -> None:
    made = make_plan([model(f"{LLAMA_8B},gpus=2")], parse_gpus("1x24,2x40"))
    assert [gpu.device for gpu in made.placements[0].gpus] == ["1", "2"]
    with pytest.raises(DoesNotFit):
        make_plan([model(f"{LLAMA_8B},gpus=2")], parse_gpus("2x3g.40gb"))


def test_heads_that_do_not_divide_are_named() -> None:
    with pytest.raises(
        PlacementError, match="cannot be cut over 8 GPUs: it has 12 attention heads"
    ):
        make_plan([model(f"{QWEN_1B5},gpus=8")], parse_gpus("8x80"))


def test_no_plan_takes_more_than_a_card_has() -> None:
    works = [model(LLAMA_8B, 1), model(QWEN_1B5, 2), model(QWEN_1B5, 3)]
    made = make_plan(works, parse_gpus("2x40"))
    for gpu in made.gpus:
        assert made.left(gpu) >= 0
        taken = sum(placed.need.total for placed in made.on(gpu))
        assert taken <= 0.9 * gpu.total_bytes


def refused(works: Sequence[Workload], gpus: str) -> str:
    with pytest.raises(DoesNotFit) as caught:
        plan_or_advise(works, parse_gpus(gpus))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_refusal_names_the_largest_context_that_fits() -> None:
    work = model(LLAMA_8B)
    assert "a context of 3072 tokens" in refused([work], "1x24")
    make_plan([work.asking(context_tokens=3072)], parse_gpus("1x24"))
    with pytest.raises(DoesNotFit):
        make_plan([work.asking(context_tokens=3072 + 256)], parse_gpus("1x24"))


def test_a_refusal_names_a_quantized_variant_and_more_gpus() -> None:
    message = refused([model(LLAMA_70B)], "2x80")
    assert "weights in fp8" in message
    assert "2 more GPUs of 80 GB" in message
    fp8 = model(LLAMA_70B + ",dtype=fp8")
    assert make_plan([fp8], parse_gpus("2x80")).placements[0].degree == 2


def test_a_refusal_on_no_gpu_says_so() -> None:
    assert "no single change is enough" in refused([model(LLAMA_8B)], "1x1")


def test_a_smaller_model_can_be_the_one_that_finds_no_place() -> None:
    works = [model(LLAMA_8B, 1, context=3072), model(QWEN_1B5, 2)]
    assert refused(works, "1x24").startswith("Model2: ")


def test_an_encoder_keeps_no_cache() -> None:
    encoder = replace(model(QWEN_1B5), engine="sentence-transformers")
    assert need(encoder).kv_cache == 0


@pytest.mark.parametrize(
    "text", ["", "24", "x24", "0x24", "1x0", "1x24,", "1x24;4x80", "1x9z.40gb"]
)
def test_gpus_that_are_none_are_answered_with_the_form(text: str) -> None:
    with pytest.raises(PlacementError, match="expected COUNTxGB as in 1x24,4x80"):
        parse_gpus(text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("params=8b", "layers, kv_heads, head_dim is missing"),
        (LLAMA_8B + ",dtype=int3", "unknown quantization 'int3'; known are: float32"),
        (LLAMA_8B + ",layer=3", "'layer=3' is not KEY=VALUE"),
        (LLAMA_8B + ",vocab=many", "vocab=many is not a number"),
        (LLAMA_8B + ",gpus=3", "gpus=3 is neither a share below 1 nor 1, 2, 4 or 8"),
        (LLAMA_8B + ",gpus=-1", "gpus=-1 is neither"),
    ],
)
def test_a_description_with_a_mistake_names_it(text: str, complaint: str) -> None:
    with pytest.raises(PlacementError, match=complaint):
        model(text)
