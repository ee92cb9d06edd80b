"""Text from a prompt: the tokens of the oracle, streamed, ended where they must, and then the table; tiny models."""

import io
import sys
from dataclasses import replace

import numpy as np
import pytest
import runs
from decoders import PLAIN, Given, exact, weights
from ggufs import write
from vocabularies import byte_level, pieces

from perflib.cli import run as command
from perflib.errors import TextError
from perflib.hardware.limits import Limits
from perflib.llm import Tokenizer
from perflib.llm.decoder import Decoder, statistics
from perflib.llm.generation import Generation
from perflib.llm.gguf import GGUFWeights
from perflib.llm.weights import RandomWeights
from perflib.stats import Interval

CHAT = "{{ bos_token }}{% for m in messages %}<|user|>{{ m.content }}{% endfor %}<|end|>"
KEYS = {
    "gpt2": byte_level("qwen2", add_bos_token=True, **{"tokenizer.chat_template": CHAT}),
    "llama": pieces(),
}
PROMPT = "Once upon a time"


def shape_of(keys, **changes):
    return replace(PLAIN, vocab_size=len(keys["tokenizer.ggml.tokens"]), **changes)


@pytest.fixture(autouse=True)
def measured(tmp_path, monkeypatch):
    """What is measured of a machine, and the lock, are those of this test."""
    rate = Interval(10.0, 10.0, 10.0, 0.95)
    limits = Limits({f"read_{k}_gb_per_s": rate for k in (1, 4, 8)} | {"peak_256_gflops_float32": rate})
    monkeypatch.setattr("perflib.llm.generation.measured_limits", lambda here: limits)
    runs.isolate(tmp_path, monkeypatch)


@pytest.fixture(params=KEYS)
def file(request, tmp_path):
    keys = KEYS[request.param]
    return write(tmp_path / "model.gguf", shape_of(keys), general=keys)


@pytest.fixture
def chatty(tmp_path):
    return write(tmp_path / "chatty.gguf", shape_of(KEYS["gpt2"]), general=KEYS["gpt2"])


def generate(file, *words):
    return command(["generate", "--gguf", str(file), *words])


def greedy(shape, tensors, prompt, count):
    """The oracle: after each token the likeliest one of float64 logits."""
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(int(exact(shape, tensors, np.array(tokens))[-1].argmax()))
    return tokens[len(prompt) :]


def test_tokens_are_the_likeliest_of_the_oracle():
    tensors, prompt = weights(PLAIN), [3, 1, 4, 1, 5]
    decoder = Decoder(Given(PLAIN, tensors))

    assert list(decoder.generate(prompt, 9)) == greedy(PLAIN, tensors, prompt, 9)


def test_generation_ends_before_a_token_of_stop_and_counts_its_passes():
    decoder, prompt = Decoder(RandomWeights(PLAIN)), [3, 1, 4]
    tokens = list(decoder.generate(prompt, 12))
    last = tokens[5]
    prompt_stats, stats = statistics(), statistics()

    ended = list(decoder.generate(prompt, 12, stop={last}, prompt_stats=prompt_stats, stats=stats))

    assert ended == tokens[: tokens.index(last)]
    assert (prompt_stats.count, stats.count) == (1, len(ended))


def test_generation_ends_where_the_context_is_full():
    decoder = Decoder(RandomWeights(PLAIN))
    context = PLAIN.context_length

    assert len(list(decoder.generate([1] * (context - 3), 100))) == 4, "the last token needs no room"
    assert len(list(decoder.generate([1] * context, 100))) == 1


def test_the_same_seed_gives_the_same_tokens_and_another_others():
    decoder = Decoder(RandomWeights(PLAIN))
    drawn = [list(decoder.generate([1, 2], 30, temperature=2.0, seed=seed)) for seed in (5, 5, 6)]

    assert drawn[0] == drawn[1] != drawn[2]
    assert list(decoder.generate([1, 2], 30, temperature=2.0, top_k=1, seed=6)) == list(decoder.generate([1, 2], 30))
    assert drawn[0] == list(decoder.generate([1, 2], 30, temperature=2.0, top_k=10**9, seed=5))


@pytest.mark.parametrize(
    ("prompt", "settings", "words"),
    [
        ([], {}, "the prompt must have 1 to 64 tokens, the context of the model, got 0"),
        ([1] * 65, {}, "the prompt must have 1 to 64 tokens, the context of the model, got 65"),
        ([1], {"temperature": float("nan")}, "temperature must be 0 or more and finite, got nan"),
        ([1], {"top_k": -4}, "top_k must be an integer of at least 0, got -4"),
    ],
)
def test_what_cannot_be_continued_is_refused_before_the_first_token(refused, prompt, settings, words):
    with refused(TextError, words):
        Decoder(RandomWeights(PLAIN)).generate(prompt, **settings)


def test_the_command_prints_the_text_and_then_the_table(file, capsys):
    assert generate(file, "--prompt", PROMPT, "--tokens", "12") == 0

    source = GGUFWeights(file)
    tokenizer, tensors = Tokenizer(source), {name: source.tensor(name) for name in weights(source.shape)}
    (prompt,) = tokenizer.prompts([PROMPT])
    text = "".join(tokenizer.stream(greedy(source.shape, tensors, prompt, 12)))
    out, err = capsys.readouterr()
    assert out.startswith(f"{text}\n\n")
    assert err == ""
    for words in (
        f"({len(prompt)} tokens at once)",
        "(one at a time, 11 passes)",
        "attention/qkv",
        "parts explain",
        "limits: 10",
    ):
        assert words in out
    assert out.count("tokens/s") == 2


def test_one_token_needs_no_pass_but_the_prompts(file, capsys):
    assert generate(file, "--prompt", PROMPT, "--tokens", "1") == 0

    out, _ = capsys.readouterr()
    assert "generation  " not in out
    assert out.count("tokens/s") == 1


def test_a_text_is_written_as_it_comes(file, monkeypatch):
    """At the time of a pass everything before it is already written."""
    seen, written, forward = [], io.StringIO(), Decoder.forward
    written.flush = lambda: seen.append(len(written.getvalue()))
    monkeypatch.setattr(sys, "stdout", written)

    def noted(self, *args, **settings):
        seen.append("pass")
        return forward(self, *args, **settings)

    monkeypatch.setattr("perflib.llm.decoder.Decoder.forward", noted)
    assert generate(file, "--prompt", PROMPT, "--tokens", "12") == 0

    passes = [n for n, what in enumerate(seen) if what == "pass"]
    sizes = [what for what in seen[passes[2] : passes[-1]] if what != "pass"]
    assert len(sizes) >= 3 and sizes == sorted(set(sizes))


def test_prompts_of_a_file_are_continued_one_after_the_other(file, tmp_path, capsys):
    (tmp_path / "prompts.txt").write_bytes(b"The village\r\n\n  \nHello, world!\n")
    alone = []
    for prompt in ("The village", "Hello, world!"):
        generate(file, "--prompt", prompt, "--tokens", "5")
        alone.append(capsys.readouterr().out.partition("\n\n")[0])

    assert generate(file, "--batch-file", str(tmp_path / "prompts.txt"), "--tokens", "5") == 0

    out, _ = capsys.readouterr()
    assert out.startswith(f"> The village\n{alone[0]}\n\n> Hello, world!\n{alone[1]}\n\n")
    assert "(2 prompts of " in out and "(one at a time, 8 passes)" in out


def test_the_table_counts_the_tokens_that_each_pass_looked_at(file, monkeypatch):
    """What is counted as work follows from the length of each prompt and the mean of what the passes held."""
    held, forward = [], Decoder.forward

    def noted(self, tokens, cache, *args, **settings):
        if cache.context > 8:  # not the passes that load the code
            held.append((tokens.shape[1], cache.length))
        return forward(self, tokens, cache, *args, **settings)

    monkeypatch.setattr("perflib.llm.decoder.Decoder.forward", noted)
    generation = Generation(GGUFWeights(file), runs.MACHINE, [PROMPT, "The village near the forest"], tokens=6)
    for number in range(2):
        list(generation.stream(number))

    passes = generation.passes()

    assert passes.prompts == tuple(new for new, start in held if not start)
    assert passes.position == pytest.approx(np.mean([start for _, start in held if start]))
    assert len(set(passes.prompts)) == 2 and passes.stats.count == 10


@pytest.mark.parametrize("words", [(), ("--prompt", "-")])
def test_a_prompt_comes_from_stdin(file, monkeypatch, capsys, words):
    generate(file, "--prompt", "Once é", "--tokens", "4")
    expected = capsys.readouterr().out.partition("\n\n")[0]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("Once é\n".encode()), encoding="ascii"))

    assert generate(file, *words, "--tokens", "4") == 0
    assert capsys.readouterr().out.startswith(f"{expected}\n\n")


def test_drawn_text_depends_on_the_seed(file, capsys):
    texts = []
    for seed in ("1", "1", "2"):
        assert (
            generate(file, "--prompt", PROMPT, "--tokens", "9", "--temperature", "3", "--top-k", "50", "--seed", seed) == 0
        )
        texts.append(capsys.readouterr().out.partition("\n\n")[0])

    assert texts[0] == texts[1] != texts[2]


def test_past_the_context_a_line_says_so(file, capsys):
    assert generate(file, "--prompt", PROMPT, "--tokens", "500") == 0

    out, err = capsys.readouterr()
    length = len(Tokenizer(GGUFWeights(file)).prompts([PROMPT])[0])
    assert err == f"perflib: the context of 64 tokens is full after {65 - length} of 500 tokens\n"
    assert f"(one at a time, {64 - length} passes)" in out


def test_text_that_fits_exactly_says_nothing(file, capsys):
    length = len(Tokenizer(GGUFWeights(file)).prompts([PROMPT])[0])

    assert generate(file, "--prompt", PROMPT, "--tokens", str(65 - length)) == 0
    assert capsys.readouterr().err == ""


def test_an_empty_prompt_begins_with_bos_and_is_refused_where_no_text_does(file, tmp_path, capsys):
    assert generate(file, "--prompt", "", "--tokens", "3") == 0
    assert "(1 tokens at once)" in capsys.readouterr().out

    keys = byte_level("qwen2")
    assert generate(write(tmp_path / "none.gguf", shape_of(keys), general=keys), "--prompt", "") == 1
    assert capsys.readouterr() == ("", "perflib: the prompt must have 1 to 64 tokens, the context of the model, got 0\n")


def test_a_question_is_put_by_the_template_and_its_control_tokens_count(chatty, monkeypatch, capsys):
    seen = []
    original = Decoder.generate
    monkeypatch.setattr(
        Decoder, "generate", lambda self, prompt, *a, **k: seen.append(prompt) or original(self, prompt, *a, **k)
    )
    texts = KEYS["gpt2"]["tokenizer.ggml.tokens"]
    bos, user, end = (texts.index(text) for text in ("<s>", "<|user|>", "<|end|>"))

    assert generate(chatty, "--prompt", "Why?", "--tokens", "3", "--chat") == 0
    assert generate(chatty, "--prompt", "<|user|>Why?<|end|>", "--tokens", "3") == 0

    body = Tokenizer(GGUFWeights(chatty)).encode("Why?")[1:]
    assert seen[0] == [bos, user, *body, end], "one bos, though the template writes it and the file adds it"
    assert seen[1][0] == bos and not {user, end} & set(seen[1])


def test_an_answer_ends_with_its_turn(tmp_path, capsys):
    """The model's likeliest fourth token is made the end of a turn."""
    plain = KEYS["gpt2"]
    first = write(tmp_path / "first.gguf", shape_of(plain), general=plain)
    source = GGUFWeights(first)
    tokens = list(Decoder(source).generate(Tokenizer(source).prompts([PROMPT])[0], 12))
    keys = plain | {"tokenizer.ggml.eot_token_id": tokens[3]}

    assert generate(write(tmp_path / "turn.gguf", shape_of(keys), general=keys), "--prompt", PROMPT) == 0

    out, err = capsys.readouterr()
    expected = "".join(Tokenizer(source).stream(tokens[: tokens.index(tokens[3])]))
    assert out.startswith(f"{expected}\n\n")
    assert err == ""


@pytest.mark.parametrize("passes", [1, 4])
def test_ctrl_c_ends_with_the_table_of_the_passes_that_ended(file, monkeypatch, capsys, passes):
    calls, forward = [], Decoder.forward

    def interrupted(self, tokens, cache, *args, **settings):
        if cache.context > 8:  # not the passes that load the code
            calls.append(1)
            if len(calls) > passes:
                raise KeyboardInterrupt
        return forward(self, tokens, cache, *args, **settings)

    monkeypatch.setattr("perflib.llm.decoder.Decoder.forward", interrupted)

    assert generate(file, "--prompt", PROMPT) == 130

    out, err = capsys.readouterr()
    assert "Performance Stats: prompt" in out and "limits: 10" in out
    assert ("(one at a time, 3 passes)" in out) == (passes == 4)
    assert err == ""


def test_ctrl_c_before_the_prompt_is_read_says_how_to_continue(file, monkeypatch, capsys):
    monkeypatch.setattr("perflib.llm.generation.Generation._continued", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))

    assert generate(file, "--prompt", PROMPT) == 130
    assert capsys.readouterr().err.startswith("interrupted; continue with: perflib generate --gguf")


def test_a_file_without_a_tokenizer_runs_forward_and_not_generate(tmp_path, capsys):
    file = write(tmp_path / "model.gguf", PLAIN)

    assert generate(file, "--prompt", "Once") == 1

    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "has no tokenizer (tokenizer.ggml.model); `perflib forward` runs it without text" in err
    assert GGUFWeights(file).shape == PLAIN or GGUFWeights(file).shape.vocab_size == PLAIN.vocab_size


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--prompt", "a", "--tokens", "0"), "--tokens must be at least 1, got 0"),
        (("--prompt", "a", "--threads", "0"), "--threads must be at least 1, got 0"),
        (("--prompt", "a", "--temperature", "-1"), "temperature must be 0 or more and finite, got -1.0"),
        (("--prompt", "a", "--temperature", "nan"), "temperature must be 0 or more and finite, got nan"),
        (("--prompt", "a", "--top-k", "-1"), "top_k must be an integer of at least 0, got -1"),
        (("--prompt", "a", "--seed", "-1"), "seed must be an integer of at least 0, got -1"),
        (("--prompt", "x " * 80), "the prompt must have 1 to 64 tokens, the context of the model, got "),
        (("--prompt", "a\udcff"), r"the text is not UTF-8: '\udcff' at position 1"),
        (("--batch-file", "none.txt"), "No such file or directory: 'none.txt'"),
        (("--batch-file", "{}/blank.txt"), "blank.txt has no prompt; write one per line"),
        (("--batch-file", "{}/latin.txt"), "latin.txt is not UTF-8: byte 0xE9 at position 3"),
        (("--batch-file", "{}/long.txt"), "prompt 2 must have 1 to 64 tokens, the context of the model, got "),
        ((), "stdin is not UTF-8: byte 0xFF at position 2"),
    ],
)
def test_what_cannot_be_generated_is_one_line(file, tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"ab\xff")))
    (tmp_path / "blank.txt").write_text("\n \n")
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    (tmp_path / "long.txt").write_text("short\n" + "x " * 80)

    assert generate(file, *(word.format(tmp_path) if "{}" in word else word for word in words)) == 1

    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1 and said in err


def test_a_chat_without_a_template_is_refused(tmp_path, capsys):
    file = write(tmp_path / "plain.gguf", shape_of(KEYS["llama"]), general=KEYS["llama"])

    assert generate(file, "--prompt", "a", "--chat") == 1
    assert capsys.readouterr().err == f"perflib: {file}: has no tokenizer.chat_template; leave out --chat\n"


def test_a_terminal_without_the_characters_gets_question_marks(tmp_path, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii", write_through=True))

    file = write(tmp_path / "model.gguf", shape_of(KEYS["llama"]), general=KEYS["llama"])
    assert generate(file, "--prompt", PROMPT, "--tokens", "40") == 0
    assert written.getvalue().isascii()
