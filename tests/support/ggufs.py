"""GGUF files of small decoders, as converters write them; without the package, who imports this is skipped."""

import pytest
from decoders import weights

gguf = pytest.importorskip("gguf", reason="needs the package gguf")

ADD = {bool: "add_bool", int: "add_uint32", float: "add_float32", str: "add_string", list: "add_array"}


def write(path, shape, tensors=None, kind="F32", architecture="llama", general=(), **changes):
    """A file of these tensors, or of random ones; `changes` of hyper-parameters, None leaves one out."""
    writer = gguf.GGUFWriter(path, architecture)
    numbers = {"context_length": shape.context_length, "embedding_length": shape.embedding_length}
    numbers |= {"block_count": shape.block_count, "feed_forward_length": shape.feed_forward_length}
    numbers |= {"attention.head_count": shape.head_count, "attention.head_count_kv": shape.head_count_kv}
    numbers |= {"attention.layer_norm_rms_epsilon": shape.layer_norm_rms_epsilon, "rope.freq_base": shape.freq_base}
    if shape.query_length != shape.embedding_length:
        numbers |= dict.fromkeys(("attention.key_length", "attention.value_length"), shape.head_length)
    numbers |= {"rope.dimension_count": shape.head_length, **changes}
    for key, value in ({f"{architecture}.{name}": value for name, value in numbers.items()} | dict(general)).items():
        if value is not None:
            getattr(writer, ADD[type(value)])(key, value)
    for name, value in (weights(shape) if tensors is None else tensors).items():
        stored = gguf.GGMLQuantizationType[kind if value.ndim == 2 else "F32"]
        writer.add_tensor(name, gguf.quantize(value, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
