"""GGUF files written by the public package: read back, run, and refused by name where something is wrong."""

import numpy as np
import pytest
from decoders import Given, close, drawn, exact, weights

from perflib.errors import GGUFError
from perflib.llm.decoder import Decoder
from perflib.llm.gguf import GGUFWeights
from perflib.llm.weights import Shape

gguf = pytest.importorskip("gguf", reason="needs the package gguf")

SHAPE = Shape(50, 64, 2, 96, 4, 2, 128, layer_norm_rms_epsilon=1e-4, freq_base=5000.0, tied=False)
WIDE = Shape(40, 256, 1, 256, 4, 2, 64)  # K-quants come in blocks of 256


def write(path, shape, tensors, kind="F32", architecture="llama", **changes):
    """A file as converters write it; `changes` of hyper-parameters, None leaves one out."""
    writer = gguf.GGUFWriter(path, architecture)
    numbers = {"context_length": shape.context_length, "embedding_length": shape.embedding_length}
    numbers |= {"block_count": shape.block_count, "feed_forward_length": shape.feed_forward_length}
    numbers |= {"attention.head_count": shape.head_count, "attention.head_count_kv": shape.head_count_kv}
    numbers |= {"rope.dimension_count": shape.head_length, **changes}
    for name, value in numbers.items():
        if value is not None:
            writer.add_uint32(f"llama.{name}", value)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", shape.layer_norm_rms_epsilon)
    writer.add_float32("llama.rope.freq_base", shape.freq_base)
    for name, value in tensors.items():
        stored = gguf.GGMLQuantizationType[kind if value.ndim == 2 else "F32"]
        writer.add_tensor(name, gguf.quantize(value, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def logits(source, tokens):
    decoder = Decoder(source)
    return decoder.forward(tokens[None], decoder.cache(1, 32), every=True)[0]


@pytest.fixture
def written(tmp_path):
    return write(tmp_path / "model.gguf", SHAPE, weights(SHAPE))


def test_a_file_gives_the_same_logits_as_the_arrays_it_was_written_from(written):
    tokens = drawn(SHAPE, 14)

    source = GGUFWeights(written)

    assert vars(source.shape) == pytest.approx(vars(SHAPE), rel=1e-6)
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
        ({"block_count": None}, ("has no llama.block_count",)),
        ({"architecture": "gpt2"}, ("general.architecture", "'llama'", "'gpt2'")),
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

    with refused(GGUFError, "model.gguf", "truncated or damaged"):
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
