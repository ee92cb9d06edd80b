"""GGUF files written by the public package: read back, run, and refused by name where something is wrong."""

import itertools
import random
import warnings
from dataclasses import replace

import numpy as np
import pytest
from decoders import Given, close, drawn, exact, weights
from ggufs import gguf, write

from perflib.errors import GGUFError
from perflib.llm.decoder import Decoder
from perflib.llm.gguf import GGUFWeights
from perflib.llm.weights import EXTRAS, Shape

SHAPE = Shape(50, 64, 2, 96, 4, 2, 128, layer_norm_rms_epsilon=1e-4, freq_base=5000.0, tied=False)
WIDE = Shape(40, 256, 1, 256, 4, 2, 64)  # K-quants come in blocks of 256


def logits(source, tokens):
    decoder = Decoder(source)
    return decoder.forward(tokens[None], decoder.cache(1, 32), every=True)[0]


@pytest.fixture
def written(tmp_path):
    return write(tmp_path / "model.gguf", SHAPE, weights(SHAPE))


def test_a_file_gives_the_same_logits_as_the_arrays_it_was_written_from(written):
    tokens = drawn(SHAPE, 14)

    source = GGUFWeights(written)

    numbers, expected = (
        {**vars(shape), "rope_scaling": shape.rope_scaling.factor, "extras": len(shape.extras)}
        for shape in (source.shape, SHAPE)
    )
    assert numbers == pytest.approx(expected, rel=1e-6)
    assert np.array_equal(logits(source, tokens), logits(Given(source.shape, weights(SHAPE)), tokens))


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0"])
def test_a_quantised_file_gives_the_logits_of_what_it_stands_for(tmp_path, kind):
    tensors, tokens = weights(SHAPE), drawn(SHAPE, 14)
    file = write(tmp_path / "model.gguf", SHAPE, tensors, kind)
    stored = gguf.GGMLQuantizationType[kind]
    meant = {n: gguf.dequantize(gguf.quantize(t, stored), stored) if t.ndim == 2 else t for n, t in tensors.items()}

    source = GGUFWeights(file)

    assert close(logits(source, tokens), exact(source.shape, meant, tokens))
    assert isinstance(source.tensor("blk.0.attn_q.weight"), tuple) == (kind == "Q8_0")


def test_k_quants_are_widened_by_the_package(tmp_path):
    tensors, kind = weights(WIDE), gguf.GGMLQuantizationType.Q6_K
    path = tmp_path / "model.gguf"
    raw = np.random.default_rng(0).integers(0, 256, (256, 210), np.uint8)  # blocks of 210 bytes, the scale last
    raw[:, -2:] = np.full((256, 1), 0.01, np.float16).view(np.uint8)
    writer_tensors = {n: t for n, t in tensors.items() if n != "blk.0.attn_q.weight"}
    original = gguf.GGUFWriter.write_header_to_file

    def with_k_quant(self, *args):
        self.add_tensor("blk.0.attn_q.weight", raw, raw_dtype=kind)
        return original(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gguf.GGUFWriter, "write_header_to_file", with_k_quant)
        write(path, WIDE, writer_tensors)

    assert np.array_equal(GGUFWeights(path).tensor("blk.0.attn_q.weight"), gguf.dequantize(raw, kind))


def test_a_tensor_stays_on_disk_until_it_is_asked_for(written):
    tensor = GGUFWeights(written).tensor("token_embd.weight")

    assert isinstance(tensor.base, np.memmap) or isinstance(tensor.base.base, np.memmap)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"block_count": 3}, ("no tensor blk.2.attn_norm.weight",)),
        ({"feed_forward_length": 97}, ("blk.0.ffn_gate.weight", "(97, 64)", "(96, 64)")),
        ({"attention.head_count_kv": 4}, ("blk.0.attn_k.weight", "(64, 64)", "(32, 64)")),
        ({"attention.head_count": 3}, ("embedding_length", "multiple")),
        ({"rope.dimension_count": 8}, ("rope.dimension_count", "16", "8")),
        ({"attention.key_length": 32}, ("blk.0.attn_q.weight", "(128, 64)", "(64, 64)")),
        ({"attention.key_length": 15}, ("head_length must be even", "15")),
        ({"attention.key_length": 0}, ("llama.attention.key_length must be 16", "0")),
        ({"block_count": None}, ("has no llama.block_count",)),
        ({"architecture": "gpt2"}, ("general.architecture", "'llama', 'qwen2', 'qwen3'", "'gpt2'")),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_name(tmp_path, refused, changes, words):
    file = write(tmp_path / "model.gguf", SHAPE, weights(SHAPE), **changes)

    with refused(GGUFError, "model.gguf", *words):
        GGUFWeights(file)


@pytest.mark.parametrize("left", [0.02, 0.3, 0.999])
def test_a_truncated_file_is_refused(written, refused, left):
    content = written.read_bytes()
    written.write_bytes(content[: int(left * len(content))])

    with refused(GGUFError, "model.gguf", "truncated or damaged: it ends before byte"):
        GGUFWeights(written)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 something else", b"GGML"])
def test_a_foreign_file_is_refused(tmp_path, refused, content):
    file = tmp_path / "other.gguf"
    file.write_bytes(content)

    with refused(GGUFError, "other.gguf", "not a GGUF file"):
        GGUFWeights(file)


def test_a_file_that_is_not_there_is_refused(tmp_path, refused):
    with refused(GGUFError, "none.gguf", "no such file"):
        GGUFWeights(tmp_path / "none.gguf")


@pytest.mark.parametrize(
    "name",
    [
        *("blk.2.attn_q.bias", "attn_q.bias", "blk.0.attn_qkv.bias", "output.bias", "blk.0.attn_norm.bias"),
        *("blk.0.attn_q.scale", "blk.0.attn_q_norm.weight", "blk.0.attn_k_norm.weight", "blk.0.ffn_gate_inp.weight"),
        *("blk.2.attn_norm.weight", "blk.0.attn_sinks.weight", "token_embd_norm.weight", "x\ny"),
    ],
)
def test_a_tensor_that_is_not_used_is_refused_by_name(tmp_path, refused, name):
    file = write(tmp_path / "model.gguf", SHAPE, weights(SHAPE) | {name: np.ones(64, np.float32)})

    with refused(GGUFError, "model.gguf", f"has the tensor {name!r}, which this decoder does not use"):
        GGUFWeights(file)


def test_rotary_positions_of_old_converters_are_left_aside(tmp_path):
    tensors = weights(SHAPE) | {f"blk.{n}.attn_rot_embd.weight": np.ones(8, np.float32) for n in range(2)}

    GGUFWeights(write(tmp_path / "model.gguf", SHAPE, tensors))


@pytest.mark.parametrize(
    ("key", "value", "needed"),
    [
        ("attention.causal", False, "True"),
        ("attention.clamp_kqv", 8.0, "0.0"),
        ("attention.max_alibi_bias", 8.0, "0.0"),
        ("attention.scale", 0.1, "0.25"),
        ("attention.sliding_window", 64, "0"),
        ("attention.value_length", 8, "16"),
        ("attn_logit_softcapping", 50.0, "0.0"),
        ("embedding_scale", 12.0, "1.0"),
        ("expert_count", 8, "0"),
        ("final_logit_softcapping", 30.0, "0.0"),
        ("logit_scale", 0.5, "1.0"),
        ("logit_scale", float("nan"), "1.0"),
        ("residual_scale", 0.2, "1.0"),
        ("rope.dimension_count", 8, "16"),
        ("rope.scaling.type", "longrope", "one of none, linear, yarn"),
        ("rope.scaling.yarn_attn_factor", 2.0, "1.0"),
        ("rope.scaling.yarn_ext_factor", 0.0, "1.0"),
        ("rope.scaling.yarn_log_multiplier", 0.1, "0.0"),
        ("tensor_data_layout", "transposed", "'Meta AI original pth'"),
        ("use_parallel_residual", True, "False"),
        ("vocab_size", 51, "50"),
    ],
)
def test_a_key_that_changes_the_logits_is_refused(tmp_path, refused, key, value, needed):
    file = write(tmp_path / "model.gguf", SHAPE, weights(SHAPE), **{key: value})

    with refused(GGUFError, f"llama.{key} must be {needed}", "got", repr(value)):
        GGUFWeights(file)


FACTORS = np.float32([1, 1, 1.3, 2, 4, 8, 8, 8])
SCALED = {
    "linear": ({"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}, None),
    "a factor alone": ({"rope.scaling.factor": 2.5}, None),
    "the old key": ({"rope.scale_linear": 3.0}, None),
    "none": ({"rope.scaling.type": "none", "rope.scaling.factor": 4.0}, None),
    "none, longer": ({"rope.scaling.attn_factor": 1.2}, None),
    "yarn": ({"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 32}, None),
    "yarn, other turns": (
        {"rope.scaling.type": "yarn", "rope.scaling.factor": 8.0, "rope.scaling.yarn_beta_fast": 8.0}
        | {"rope.scaling.yarn_beta_slow": 0.5, "rope.scaling.attn_factor": 0.9},
        None,
    ),
    "factors": ({}, FACTORS),
    "factors, linear": ({"rope.scaling.factor": 2.0}, FACTORS),
}


@pytest.mark.parametrize("name", SCALED)
def test_scaled_rotary_positions_give_the_logits_of_the_oracle(tmp_path, name):
    changes, factors = SCALED[name]
    tensors, tokens = weights(SHAPE), drawn(SHAPE, 64)
    more = {} if factors is None else {"rope_freqs.weight": factors}
    source = GGUFWeights(write(tmp_path / "model.gguf", SHAPE, tensors | more, **changes))
    decoder = Decoder(source)

    scaled = decoder.forward(tokens[None], decoder.cache(1, 64), every=True)[0]

    facts = {key.removeprefix("rope.scaling."): value for key, value in changes.items()}
    factor = facts.get("factor", facts.get("scale_linear", facts.pop("rope.scale_linear", 1.0)))
    kind = facts.get("type", "none" if factor == 1 else "linear")
    assert (source.shape.rope_scaling.type, source.shape.rope_scaling.factor) == (kind, factor)
    assert source.shape.rope_scaling.factors == pytest.approx(() if factors is None else tuple(factors))
    assert close(scaled, expected := exact(source.shape, tensors, tokens))
    assert (scaled.argmax(axis=1) == expected.argmax(axis=1)).all()
    assert close(scaled, exact(SHAPE, tensors, tokens)) == (name == "none"), "a scaling changes the logits"


@pytest.mark.parametrize(
    ("changes", "factors", "words"),
    [
        ({"rope.scaling.factor": 0.0}, None, ("llama.rope.scaling.factor must be above 0", "got 0.0")),
        ({"rope.scaling.type": "yarn", "rope.freq_base": 1.0}, None, ("freq_base must be above 1 for yarn", "got 1.0")),
        ({}, FACTORS[:4], ("tensor rope_freqs.weight must have shape (8,)", "(4,)")),
        ({}, -FACTORS, ("factors must be above 0", "got -8.0")),
    ],
)
def test_a_scaling_that_cannot_be_is_refused(tmp_path, refused, changes, factors, words):
    more = {} if factors is None else {"rope_freqs.weight": factors}
    file = write(tmp_path / "model.gguf", SHAPE, weights(SHAPE) | more, **changes)

    with refused(GGUFError, *words):
        GGUFWeights(file)


BIASES = tuple(name for name in EXTRAS if name.endswith(".bias"))
NORMS = "attn_q_norm.weight", "attn_k_norm.weight"
LONG = replace(SHAPE, head_length=24)
NARROW = Shape(50, 60, 2, 96, 4, 1, 128, head_length=6)  # 60 is no multiple of two times four heads
QWEN2, QWEN3 = replace(SHAPE, extras=BIASES[:3]), replace(SHAPE, head_length=32, extras=NORMS, tied=True)
YARN = {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 32}
VARIANTS = {name: ("llama", replace(SHAPE, extras=(name,)), "F32", {}) for name in BIASES} | {
    "every bias": ("llama", replace(SHAPE, extras=BIASES), "F32", {}),
    "every bias, long heads": ("llama", replace(LONG, extras=BIASES), "F32", {}),
    "biases, Q8_0": ("llama", replace(SHAPE, extras=BIASES), "Q8_0", {}),
    "long heads": ("llama", LONG, "F32", {}),
    "short heads": ("llama", NARROW, "F32", {}),
    "Qwen2": ("qwen2", QWEN2, "F32", {}),
    "Qwen2, Q8_0": ("qwen2", QWEN2, "Q8_0", {}),
    "Qwen2, Q4_0": ("qwen2", QWEN2, "Q4_0", {}),
    "Qwen2, yarn": ("qwen2", QWEN2, "F32", YARN),
    "Qwen2, short heads": ("qwen2", replace(NARROW, extras=BIASES[:3]), "F16", {}),
    "Qwen3": ("qwen3", QWEN3, "F32", {}),
    "Qwen3, Q8_0": ("qwen3", QWEN3, "Q8_0", {}),
    "Qwen3, short heads": ("qwen3", replace(NARROW, extras=NORMS), "F32", {"rope.scaling.factor": 2.0}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_what_a_model_has_besides_gives_the_logits_of_the_oracle(tmp_path, name):
    """Prompt, and token by token, against an oracle that turns the pairs of a file where they stand."""
    architecture, shape, kind, changes = VARIANTS[name]
    tensors, tokens, stored = weights(shape), drawn(shape, 64), gguf.GGMLQuantizationType[kind]
    meant = {n: gguf.dequantize(gguf.quantize(t, stored), stored) if t.ndim == 2 else t for n, t in tensors.items()}
    source = GGUFWeights(write(tmp_path / "model.gguf", shape, tensors, kind, architecture, **changes))
    decoder = Decoder(source)
    cache = decoder.cache(1, 64)

    prompt = decoder.forward(tokens[None], decoder.cache(1, 64), every=True)[0]
    steps = np.array([decoder.forward(token.reshape(1, 1), cache)[0] for token in tokens])

    expected = exact(source.shape, meant, tokens, halves=architecture != "llama")
    assert (source.shape.extras, source.shape.head_length) == (shape.extras, shape.head_length)
    assert close(prompt, expected)
    assert close(steps, expected)
    assert (prompt.argmax(axis=1) == expected.argmax(axis=1)).all()
    assert (steps.argmax(axis=1) == expected.argmax(axis=1)).all()


@pytest.mark.parametrize("name", VARIANTS)
def test_nothing_that_a_model_has_besides_is_without_effect(tmp_path, name):
    """The oracle without one of the extras, or with the other order of pairs, is not what the decoder gives."""
    architecture, shape, _, _ = VARIANTS[name]
    tensors, tokens = weights(shape), drawn(shape, 14)
    got = logits(GGUFWeights(write(tmp_path / "model.gguf", shape, tensors, "F32", architecture)), tokens)

    assert close(got, exact(shape, tensors, tokens, halves=architecture != "llama"))
    assert not close(got, exact(shape, tensors, tokens, halves=architecture == "llama"))
    for extra in shape.extras:
        without = {name: tensor for name, tensor in tensors.items() if not name.endswith(extra)}
        assert not close(got, exact(shape, without, tokens, halves=architecture != "llama")), extra


@pytest.mark.parametrize(
    ("architecture", "shape", "missing"),
    [
        *(
            ("llama", replace(SHAPE, extras=(name,)), f"blk.{n}.{name}")
            for n, name in enumerate(["attn_q.bias", "ffn_down.bias"])
        ),
        ("qwen2", QWEN2, "blk.1.attn_k.bias"),
        ("qwen2", SHAPE, "blk.0.attn_q.bias"),
        ("qwen3", QWEN3, "blk.0.attn_k_norm.weight"),
    ],
)
def test_what_one_block_lacks_is_named(tmp_path, refused, architecture, shape, missing):
    tensors = {name: tensor for name, tensor in weights(shape).items() if name != missing}

    with refused(GGUFError, "model.gguf", f"has no tensor {missing}"):
        GGUFWeights(write(tmp_path / "model.gguf", shape, tensors, architecture=architecture))


@pytest.mark.parametrize(
    ("architecture", "shape", "name", "size"),
    [
        ("llama", SHAPE, "blk.0.attn_q_norm.weight", 16),
        ("qwen2", QWEN2, "blk.0.attn_output.bias", 64),
        ("qwen2", QWEN2, "blk.1.attn_k_norm.weight", 16),
        ("qwen2", QWEN2, "rope_freqs.weight", 8),
        ("qwen3", QWEN3, "blk.0.attn_q.bias", 128),
    ],
)
def test_what_an_architecture_does_not_have_is_refused(tmp_path, refused, architecture, shape, name, size):
    file = write(
        tmp_path / "model.gguf", shape, weights(shape) | {name: np.ones(size, np.float32)}, architecture=architecture
    )

    with refused(GGUFError, f"has the tensor {name!r}, which this decoder does not use"):
        GGUFWeights(file)


@pytest.mark.parametrize(
    ("key", "value", "needed"), [("attention.value_length", 16, "32"), ("rope.dimension_count", 16, "32")]
)
def test_lengths_of_a_head_that_differ_are_refused(tmp_path, refused, key, value, needed):
    file = write(tmp_path / "model.gguf", QWEN3, weights(QWEN3), architecture="qwen3", **{key: value})

    with refused(GGUFError, f"qwen3.{key} must be {needed}", str(value)):
        GGUFWeights(file)


def test_keys_that_change_nothing_are_accepted_in_silence(tmp_path):
    same = {"attention.causal": True, "attention.key_length": 16, "attention.value_length": 16, "attention.scale": 0.25}
    same |= {"vocab_size": 50, "expert_count": 0, "expert_used_count": 2, "attention.layer_norm_epsilon": 1e-5}
    same |= {"rope.scaling.type": "none", "rope.scaling.factor": 4.0, "rope.scaling.finetuned": True}
    general = {"general.type": "model", "tokenizer.ggml.model": "gpt2", "other.thing": 3, "split.count": 1}
    file = write(tmp_path / "model.gguf", SHAPE, weights(SHAPE), general=general, **same)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = GGUFWeights(file)

    assert np.array_equal(logits(source, drawn(SHAPE, 9)), logits(Given(source.shape, weights(SHAPE)), drawn(SHAPE, 9)))


def test_a_key_that_nobody_knows_is_named_in_a_warning(tmp_path):
    file = write(tmp_path / "model.gguf", SHAPE, weights(SHAPE), **{f"attention.new_{n}": 3 for n in range(7)})

    with pytest.warns(UserWarning, match=r"not known here: 'llama.attention.new_0', .* and 2 more; the logits may not be"):
        GGUFWeights(file)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("attention.head_count", "4", ("must be an integer", "got '4'")),
        ("attention.head_count", 4.0, ("must be an integer", "got 4.0")),
        ("block_count", True, ("must be an integer", "got True")),
        ("attention.head_count_kv", [2, 4], ("must be the same for every layer", "2 values that differ")),
        ("rope.freq_base", -1.0, ("must be above 0 and finite", "got -1.0")),
        ("rope.freq_base", "10000", ("must be above 0 and finite", "got '10000'")),
        ("attention.layer_norm_rms_epsilon", float("nan"), ("must be above 0 and finite", "got nan")),
        ("attention.layer_norm_rms_epsilon", float("inf"), ("must be above 0 and finite", "got inf")),
        ("block_count", 0, ("block_count must be at least 1", "got 0")),
        ("block_count", 2**32 - 1, ("has no tensor blk.2.attn_norm.weight",)),
    ],
)
def test_a_value_of_the_wrong_type_or_range_is_refused(tmp_path, refused, key, value, words):
    file = write(tmp_path / "model.gguf", SHAPE, weights(SHAPE), **{key: value})

    with refused(GGUFError, *words):
        GGUFWeights(file)


def test_an_array_whose_entries_agree_is_their_value(tmp_path):
    changes = {"attention.head_count_kv": [2, 2], "feed_forward_length": [96, 96]}

    assert GGUFWeights(write(tmp_path / "model.gguf", SHAPE, weights(SHAPE), **changes)).shape.head_count_kv == 2


@pytest.mark.parametrize(
    ("general", "words"),
    [
        ({"split.count": 3, "split.no": 0}, ("is part 1 of 3", "join them")),
        ({"general.type": "adapter"}, ("general.type must be 'model'", "got 'adapter'")),
    ],
)
def test_a_part_of_a_model_is_named(tmp_path, refused, general, words):
    file = write(tmp_path / "model.gguf", SHAPE, weights(SHAPE), general=general)

    with refused(GGUFError, *words):
        GGUFWeights(file)


@pytest.mark.parametrize(
    ("version", "words"), [(b"\1\0\0\0", ("version 1", "2 or 3")), (b"\0\0\0\3", ("big-endian", "gguf-convert-endian"))]
)
def test_another_version_or_byte_order_is_named(written, refused, version, words):
    written.write_bytes(b"GGUF" + version + written.read_bytes()[8:])

    with refused(GGUFError, *words):
        GGUFWeights(written)


def test_a_folder_is_refused(tmp_path, refused):
    with refused(GGUFError, "is a folder"):
        GGUFWeights(tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("name", "kind"), [("blk.1.ffn_up.weight", "F16"), ("blk.1.ffn_up.weight", "Q8_0"), ("output_norm.weight", "F32")]
)
def test_a_weight_that_is_not_finite_is_refused_with_its_tensor(tmp_path, refused, name, kind, value):
    tensors = weights(SHAPE)
    tensors[name].flat[5] = value
    with np.errstate(invalid="ignore"):
        file = write(tmp_path / "model.gguf", SHAPE, tensors, kind)

    with refused(GGUFError, f"tensor {name} holds values that are not finite"):
        Decoder(GGUFWeights(file))


def test_a_damaged_file_is_refused_in_one_line_or_read_as_what_it_says(tmp_path):
    """Bytes of the header changed, numbers made huge, parts cut out: nothing else than GGUFError is ever raised."""
    content = write(tmp_path / "model.gguf", SHAPE, weights(SHAPE)).read_bytes()
    head, draw = gguf.GGUFReader(tmp_path / "model.gguf").data_offset, random.Random(5)
    refusals = 0
    for number, damage in zip(range(160), itertools.cycle(("byte", "number", "cut", "hole"))):
        torn, at = bytearray(content), draw.randrange(8, head - 8)
        if damage == "byte":
            torn[at] ^= 1 << draw.randrange(8)
        elif damage == "number":
            torn[at : at + 8] = draw.choice([0, 1 << 20, 1 << 40, (1 << 63) - 1, (1 << 64) - 1]).to_bytes(8, "little")
        elif damage == "cut":
            del torn[draw.randrange(len(torn)) :]
        else:
            del torn[at : at + draw.randrange(1, 40)]
        (file := tmp_path / f"{number}.gguf").write_bytes(torn)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                GGUFWeights(file)
        except GGUFError as problem:
            assert "\n" not in str(problem)
            refusals += 1
    assert refusals > 140
