"""The decoder against a float64 oracle: prompt and token by token, batches, shared heads, odd sizes, quantised weights."""

import numpy as np
import pytest
from decoders import Given, close, drawn, exact, weights

from perflib.kernels.decoder.panels import quantise
from perflib.llm.decoder import Decoder, statistics
from perflib.llm.operation_counts import Work, work
from perflib.llm.weights import EXTRAS, SHAPES, RandomWeights, Shape

PLAIN = Shape(40, 32, 2, 48, 4, 4, 64)
GROUPED = Shape(67, 48, 2, 52, 8, 2, 64, freq_base=500.0, tied=False)  # heads of 6, four to a key
ODD = Shape(33, 30, 3, 37, 3, 1, 80, layer_norm_rms_epsilon=1e-2)  # heads of 10
FULL = Shape(37, 36, 2, 44, 4, 2, 80, head_length=10, extras=tuple(EXTRAS))  # every bias, norms of heads

every_shape = pytest.mark.parametrize("shape", [PLAIN, GROUPED, ODD, FULL], ids=["plain", "grouped", "odd", "full"])


@every_shape
def test_a_prompt_gives_the_logits_of_the_oracle_at_every_token(shape):
    tensors, tokens = weights(shape), drawn(shape, 41)
    decoder = Decoder(Given(shape, tensors))

    logits = decoder.forward(tokens[None], decoder.cache(1, 41), every=True)

    assert close(logits[0], exact(shape, tensors, tokens))


@every_shape
def test_token_by_token_gives_the_same_as_the_prompt(shape):
    tensors, tokens = weights(shape), drawn(shape, 37)
    decoder = Decoder(Given(shape, tensors))
    cache = decoder.cache(1, 64)

    steps = [decoder.forward(token.reshape(1, 1), cache)[0] for token in tokens]

    assert close(np.array(steps), exact(shape, tensors, tokens))


@every_shape
def test_a_prompt_may_come_in_pieces_and_only_its_last_logits_are_asked_for(shape):
    tensors, tokens = weights(shape), drawn(shape, 35)
    decoder = Decoder(Given(shape, tensors))
    cache = decoder.cache(1, 35)

    for part in (tokens[:20], tokens[20:21], tokens[21:]):
        logits = decoder.forward(part[None], cache)

    assert close(logits[0], exact(shape, tensors, tokens)[-1])


@every_shape
def test_sequences_of_a_batch_do_not_know_of_each_other(shape):
    tensors, tokens = weights(shape), drawn(shape, (5, 15))
    decoder = Decoder(Given(shape, tensors))
    cache = decoder.cache(5, 16)

    decoder.forward(tokens[:, :13], cache)
    decoder.forward(tokens[:, 13:14], cache)
    logits = decoder.forward(tokens[:, 14:], cache)

    assert close(logits, np.array([exact(shape, tensors, one)[-1] for one in tokens]))


@every_shape
def test_two_threads_give_what_one_gives(shape):
    decoder, tokens = Decoder(RandomWeights(shape)), drawn(shape, (3, 14))
    caches = [decoder.cache(3, 15) for _ in range(2)]

    pairs = [
        [decoder.forward(part, cache, threads=t, every=True) for part in (tokens[:, :13], tokens[:, 13:])]
        for t, cache in enumerate(caches, start=1)
    ]

    assert all(np.array_equal(one, two) for one, two in zip(*pairs, strict=True))


@every_shape
def test_quantised_weights_give_the_logits_of_what_they_stand_for(shape):
    tensors, tokens = weights(shape), drawn(shape, 18)
    stored = {name: quantise(value) if value.ndim == 2 else value for name, value in tensors.items()}
    decoder = Decoder(RandomWeights(shape), kind="Q8_0")
    cache = decoder.cache(1, 18)

    prompt = decoder.forward(tokens[None, :17], cache, every=True)[0]
    last = decoder.forward(tokens[None, 17:], cache)

    assert close(np.concatenate([prompt, last]), exact(shape, stored, tokens))


def test_a_cleared_cache_remembers_nothing():
    decoder, tokens = Decoder(RandomWeights(PLAIN)), drawn(PLAIN, (1, 12))
    cache = decoder.cache(1, 40)
    fresh = decoder.forward(tokens, cache)

    decoder.forward(drawn(PLAIN, (1, 28), seed=1), cache)
    cache.clear()

    assert np.array_equal(decoder.forward(tokens, cache), fresh)


def test_what_is_quantised_takes_little_more_than_a_quarter_of_the_bytes():
    whole, quarter = (Decoder(RandomWeights(SHAPES["15M"]), kind) for kind in ("F32", "Q8_0"))

    assert whole.nbytes == 4 * SHAPES["15M"].parameters
    assert 0.26 < quarter.nbytes / whole.nbytes < 0.27


def test_the_named_shapes_have_as_many_weights_as_they_are_named_for():
    millions = {name: round(shape.parameters / 1e6) for name, shape in SHAPES.items()}

    assert millions == {"15M": 15, "110M": 110, "1.1B": 1100}


def test_parts_add_up_to_the_pass_and_are_entered_once_per_layer():
    decoder, stats = Decoder(RandomWeights(PLAIN)), statistics()
    cache = decoder.cache(1, 40)

    for token in drawn(PLAIN, 7):
        decoder.forward(token.reshape(1, 1), cache, stats)

    assert stats.count == 7
    parts = stats.embedding_ms + stats.attention_ms + stats.ffn_ms + stats.projection_ms
    assert 0 < parts <= stats.forward_pass_ms
    assert {stats.entries(p) / 7 for p in ("attention", "attention/rope", "ffn")} == {PLAIN.block_count}


def test_statistics_that_are_switched_off_count_nothing():
    decoder, stats = Decoder(RandomWeights(PLAIN)), statistics(enabled=False)

    decoder.forward(drawn(PLAIN, (1, 2)), decoder.cache(1, 2), stats)

    assert stats.count == 0


@pytest.mark.parametrize(
    ("tokens", "kind", "words"),
    [
        ([[1, 2]], TypeError, ("tokens", "integers", "list")),
        (np.zeros((1, 2)), TypeError, ("tokens", "integers", "float64")),
        (np.zeros(2, int), ValueError, ("tokens", "(1, at least 1)", "(2,)")),
        (np.zeros((1, 0), int), ValueError, ("tokens", "(1, at least 1)", "(1, 0)")),
        (np.zeros((2, 1), int), ValueError, ("tokens", "(1, at least 1)", "(2, 1)")),
        (np.full((1, 1), 40), ValueError, ("tokens", "0 to 39", "40")),
        (np.full((1, 1), -1), ValueError, ("tokens", "0 to 39", "-1")),
        (np.zeros((1, 9), int), ValueError, ("tokens", "at most 8", "got 9")),
    ],
)
def test_wrong_tokens_are_refused(refused, tokens, kind, words):
    decoder = Decoder(RandomWeights(PLAIN))

    with refused(kind, *words):
        decoder.forward(tokens, decoder.cache(1, 8))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"block_count": 0}, ("block_count", "at least 1", "0")),
        ({"head_count": 3, "head_length": 0}, ("embedding_length", "multiple of 2 head_count = 6", "32")),
        ({"head_length": 7}, ("head_length must be even", "7")),
        ({"head_length": -2}, ("head_length must be at least 0", "-2")),
        ({"extras": ("attn_q.bias", "attn_k.scale")}, ("extras must be some of attn_q.bias,", "'attn_k.scale'")),
        ({"head_count_kv": 3}, ("head_count", "multiple of head_count_kv 3", "4")),
        ({"context_length": 0}, ("context_length", "at least 1", "0")),
    ],
)
def test_a_shape_that_does_not_fit_together_is_refused(refused, changes, words):
    with refused(ValueError, *words):
        Shape(**{**vars(PLAIN), **changes})


def test_the_work_of_a_pass_is_counted():
    """One token of one block by hand: every weight is used once, in a multiply-add, and three tokens are looked at."""
    shape = Shape(10, 8, 1, 6, 2, 1, 16)

    counted = work(shape, "F32", 1, 1, 2)

    assert counted["attention/qkv"] == Work(2 * 8 * (8 + 4 + 4), 4 * 8 * (8 + 4 + 4))
    assert counted["attention/scores"] == Work(2 * 2 * 3 * 8, 4 * 2 * 3 * 4)
    assert counted["ffn"] == Work(2 * 3 * 8 * 6, 4 * 3 * 8 * 6)
    assert counted["projection"].flops == 2 * 8 * 10
    assert work(shape, "Q8_0", 1, 1, 2)["ffn"].bytes == 3 * 8 * 6 * 34 / 32


def test_the_work_of_a_pass_counts_heads_of_their_own_length():
    """As above with heads of 6, not 8 / 2: two of queries, one of keys, one of values."""
    shape = Shape(10, 8, 1, 6, 2, 1, 16, head_length=6)

    counted = work(shape, "F32", 1, 1, 2)

    assert counted["attention/qkv"] == Work(2 * 8 * (12 + 6 + 6), 4 * 8 * (12 + 6 + 6))
    assert counted["attention/rope"].flops == 3 * (12 + 6)
    assert counted["attention/scores"] == Work(2 * 2 * 3 * 12, 4 * 2 * 3 * 6)
    assert counted["attention/output"] == Work(2 * 12 * 8, 4 * 12 * 8)


def test_an_unknown_kind_is_refused(refused):
    with refused(ValueError, "kind", "F32, Q8_0", "'Q4_0'"):
        Decoder(RandomWeights(PLAIN), kind="Q4_0")


def test_a_mixed_model_counts_the_bytes_of_the_kind_of_each_weight():
    tensors = weights(PLAIN)
    for name in ("token_embd.weight", "blk.0.ffn_down.weight", "blk.1.ffn_down.weight"):
        tensors[name] = quantise(tensors[name])

    decoder = Decoder(Given(PLAIN, tensors))

    assert decoder.kind == "F32 and Q8_0"
    mixed = (2 * 4 + 34 / 32) / 3  # gate and up as they are, down in blocks
    expected = {"attention/qkv": 4, "attention/output": 4, "ffn": mixed, "embedding": 34 / 32, "projection": 34 / 32}
    assert decoder.bytes_per_weight == pytest.approx(expected)
    assert work(PLAIN, decoder.bytes_per_weight, 1, 1, 0)["ffn"].bytes == pytest.approx(mixed * 2 * 3 * 32 * 48)
