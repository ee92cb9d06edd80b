"""PyTorch's decoder: heads of their own length, and refusal of what it does not compute."""

from dataclasses import replace

import numpy as np
import pytest
from decoders import GROUPED, Given, close, drawn, exact, weights

from perflib.llm.weights import EXTRAS, RandomWeights
from perflib.validation.torch_decoder import TorchDecoder


@pytest.mark.parametrize("head_length", [0, 10])
def test_a_prompt_and_a_token_give_the_logits_of_the_oracle(head_length):
    pytest.importorskip("torch", reason="needs PyTorch")
    shape = replace(GROUPED, head_length=head_length)
    tensors, tokens = weights(shape), drawn(shape, 20)
    decoder = TorchDecoder(Given(shape, tensors), 1, 20)

    logits = [decoder.forward(part[None]).numpy()[0] for part in (tokens[:19], tokens[19:])]

    assert close(np.array(logits), exact(shape, tensors, tokens)[-2:])


@pytest.mark.parametrize("name", EXTRAS)
def test_extras_are_refused(refused, name):
    with refused(ValueError, "weights must have no extras", name):
        TorchDecoder(RandomWeights(replace(GROUPED, extras=(name,))), 1, 8)
