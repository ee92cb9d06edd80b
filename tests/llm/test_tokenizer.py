"""Text to tokens and back: against the package's own pipelines, put together here, and SentencePiece's rule."""

import random
from dataclasses import replace
from types import SimpleNamespace

import pytest
from decoders import PLAIN
from ggufs import write
from vocabularies import BYTE, CONTROL, DIGITS, NORMAL, PRE, TEXTS, USER_DEFINED, byte_level, pieces, tokenizers

from perflib.errors import GGUFError, TextError
from perflib.llm import Tokenizer
from perflib.llm.gguf import GGUFWeights

CONTRACTIONS = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
WORDS = {
    "llama-bpe": rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|",
    "qwen2": rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|",
}
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
KINDS = {**{pre: byte_level(pre) for pre in PRE}, "llama": pieces()}


class Source:
    """What a tokenizer reads of a file."""

    path = "model.gguf"

    def __init__(self, keys):
        self.metadata = keys.get
        self.shape = SimpleNamespace(vocab_size=len(keys.get("tokenizer.ggml.tokens") or ()))


def of(keys):
    return Tokenizer(Source(keys))


def numbers(keys, *texts):
    return [keys["tokenizer.ggml.tokens"].index(text) for text in texts]


def texts_of(keys, tokens):
    return [keys["tokenizer.ggml.tokens"][token] for token in tokens]


def reference(keys):
    """The pipeline that the models of a kind are published with (their `tokenizer.json`), control tokens as text."""
    texts, types = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]
    matched = {text: n for n, text in enumerate(texts) if types[n] not in (CONTROL,)}
    merges, steps = [tuple(merge.split(" ")) for merge in keys["tokenizer.ggml.merges"]], tokenizers.pre_tokenizers
    pre = keys["tokenizer.ggml.pre"]
    model = tokenizers.models.BPE(vocab=matched, merges=merges, ignore_merges=pre == "llama-bpe")
    pipeline = tokenizers.Tokenizer(model)
    if pre in WORDS:
        cut = steps.Split(tokenizers.Regex(WORDS[pre] + REST), "isolated", invert=False)
        pipeline.pre_tokenizer = steps.Sequence([cut, steps.ByteLevel(add_prefix_space=False, use_regex=False)])
    elif pre in DIGITS:
        whole = steps.ByteLevel(add_prefix_space=False, use_regex=True)
        pipeline.pre_tokenizer = steps.Sequence([steps.Digits(individual_digits=True), whole])
    else:
        pipeline.pre_tokenizer = steps.ByteLevel(add_prefix_space=False, use_regex=True)
    return lambda text: pipeline.encode(text).ids


def joined(text, scores):
    """SentencePiece's rule, one join at a time: the two neighbours with the best union, of equal ones the leftmost."""
    parts = list(text)
    while True:
        unions = [(scores[a + b], -n) for n, (a, b) in enumerate(zip(parts, parts[1:], strict=False)) if a + b in scores]
        if not unions:
            return parts
        place = -max(unions)[1]
        parts[place : place + 2] = [parts[place] + parts[place + 1]]


def spelled(keys, prefix="▁"):
    """The oracle of `llama`: joined pieces, and the bytes of what is none."""
    texts, types = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]
    scores = {
        t: s for t, s, k in zip(texts, keys["tokenizer.ggml.scores"], types, strict=True) if k in (NORMAL, USER_DEFINED)
    }

    def encode(text):
        parts = joined(prefix * bool(text) + text.replace(" ", "▁"), scores)
        return numbers(keys, *(t for p in parts for t in ([p] if p in scores else [f"<0x{b:02X}>" for b in p.encode()])))

    return encode


def rebuilt(keys):
    """The package's own pipeline for `llama`, its merges from the scores."""
    texts, types = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]
    matched = {text: n for n, text in enumerate(texts) if types[n] != CONTROL}
    score = dict(zip(texts, keys["tokenizer.ggml.scores"], strict=True))
    cuts = [(-score[t], t[:n], t[n:]) for t in texts if types[texts.index(t)] == NORMAL for n in range(1, len(t))]
    merges = [(left, right) for _, left, right in sorted(cuts) if left in matched and right in matched]
    model = tokenizers.models.BPE(vocab=matched, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    pipeline = tokenizers.Tokenizer(model)
    steps = tokenizers.normalizers
    pipeline.normalizer = steps.Sequence([steps.Prepend("▁"), steps.Replace(" ", "▁")])
    return lambda text: pipeline.encode(text).ids


def test_there_are_enough_texts_and_kinds():
    assert len(set(TEXTS)) == len(TEXTS) >= 47
    assert len(KINDS) == 8


@pytest.mark.parametrize("kind", PRE)
def test_byte_level_tokens_are_those_of_the_published_pipeline(kind):
    tokenizer, expected = of(KINDS[kind]), reference(KINDS[kind])
    begin = [KINDS[kind]["tokenizer.ggml.bos_token_id"]] * (kind == "llama-bpe")

    for text in TEXTS:
        assert tokenizer.encode(text) == begin + expected(text), text


def test_the_kinds_differ_on_the_texts():
    """Else a test of one kind would show nothing about the others."""
    tokens = {kind: [of(KINDS[kind]).encode(text)[kind == "llama-bpe" :] for text in TEXTS] for kind in PRE}

    distinct = [tokens[kind] for kind in ("llama-bpe", "qwen2", "gpt-2", "smollm")]
    assert all(a != b for n, a in enumerate(distinct) for b in distinct[:n])
    assert all(tokens[kind] == tokens["smollm"] for kind in DIGITS)


@pytest.mark.parametrize("oracle", [spelled, rebuilt])
def test_pieces_are_those_of_the_rule_and_of_the_package(oracle):
    tokenizer, expected = of(KINDS["llama"]), oracle(KINDS["llama"])

    for text in TEXTS:
        assert tokenizer.encode(text) == [1, *expected(text)], text


def test_pieces_without_a_space_in_front():
    keys = pieces(add_space_prefix=False)
    tokenizer, expected = of(keys), spelled(keys, prefix="")

    for text in TEXTS:
        assert tokenizer.encode(text) == [1, *expected(text)], text
        assert tokenizer.decode(tokenizer.encode(text)) == text.replace("▁", " ")


def test_equal_scores_and_letters_that_are_no_pieces_follow_the_rule():
    """Vocabularies of drawn pieces, on texts of two letters: half of the scores are equal."""
    draw = random.Random(3)
    for _ in range(60):
        drawn = {"".join(draw.choices("ab▁", k=draw.randrange(1, 6))) for _ in range(draw.randrange(3, 25))}
        texts = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *sorted(drawn)]
        types = [2, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * len(drawn)]
        scores = [0.0] * 259 + [float(-draw.randrange(1 + len(drawn) // 2)) for _ in drawn]
        keys = pieces(tokens=texts, token_type=types, scores=scores)
        tokenizer, expected = of(keys), spelled(keys)
        for _ in range(20):
            text = "".join(draw.choices("ab ", k=draw.randrange(1, 30)))
            assert tokenizer.encode(text) == [1, *expected(text)], (drawn, text)


@pytest.mark.parametrize("kind", KINDS)
def test_every_text_comes_back(kind):
    tokenizer = of(KINDS[kind])

    for text in TEXTS:
        expected = text.replace("▁", " ") if kind == "llama" else text
        assert tokenizer.decode(tokenizer.encode(text)) == expected
        around = f"{text}<|note|>{text}"
        assert tokenizer.decode(tokenizer.encode(around)) == around.replace("▁", " " if kind == "llama" else "▁")


def test_digits_are_cut_as_each_kind_does():
    letters = [*map(chr, range(ord("0"), ord("9") + 1))]
    merged = ["12", "123", "1234", "45", "456"]
    merges = ["1 2", "12 3", "123 4", "4 5", "45 6"]
    cuts = {}
    for kind in PRE:
        texts = [*letters, *merged]
        keys = byte_level(kind, tokens=texts, token_type=None, merges=merges, bos_token_id=0, eos_token_id=0)
        cuts[kind] = texts_of(keys, of(keys | {"tokenizer.ggml.add_bos_token": False}).encode("1234567"))

    assert cuts["llama-bpe"] == ["123", "456", "7"]
    assert cuts["gpt-2"] == ["1234", "5", "6", "7"]
    assert cuts["qwen2"] == cuts["smollm"] == cuts["command-r"] == list("1234567")


def test_a_word_that_is_a_token_needs_no_merges_in_the_kind_of_llama():
    whole = {kind: texts_of(KINDS[kind], of(KINDS[kind]).encode("zyx")) for kind in ("llama-bpe", "qwen2")}

    assert whole["llama-bpe"] == ["<s>", "zyx"]
    assert "zyx" not in whole["qwen2"]


@pytest.mark.parametrize("kind", KINDS)
def test_control_tokens_in_a_text_are_text_unless_they_are_wanted(kind):
    tokenizer, (user, note) = of(KINDS[kind]), numbers(KINDS[kind], "<|user|>", "<|note|>")

    plain, wanted = tokenizer.encode("a<|user|>b<|note|>c"), tokenizer.encode("a<|user|>b<|note|>c", control=True)

    assert user not in plain
    assert user in wanted
    assert note in plain and note in wanted
    assert tokenizer.decode(plain) == "a<|user|>b<|note|>c"
    assert tokenizer.decode(wanted) == "ab<|note|>c"


def test_the_longest_added_token_is_taken():
    texts = [*KINDS["gpt-2"]["tokenizer.ggml.tokens"], "<|note|>s", "<|n"]
    types = [*KINDS["gpt-2"]["tokenizer.ggml.token_type"], USER_DEFINED, USER_DEFINED]
    keys = byte_level("gpt-2", tokens=texts, token_type=types)

    assert texts_of(keys, of(keys).encode("<|note|>s<|n<|note|>")) == ["<|note|>s", "<|n", "<|note|>"]


@pytest.mark.parametrize(
    ("kind", "changes", "begins", "ends"),
    [
        ("llama-bpe", {}, True, False),
        ("llama-bpe", {"add_bos_token": False}, False, False),
        ("qwen2", {}, False, False),
        ("qwen2", {"add_bos_token": True, "add_eos_token": True}, True, True),
        ("llama", {}, True, False),
        ("llama", {"add_bos_token": False, "add_eos_token": True}, False, True),
    ],
)
def test_a_text_begins_and_ends_as_the_file_says(kind, changes, begins, ends):
    keys = pieces(**changes) if kind == "llama" else byte_level(kind, **changes)
    bos, eos = (keys[f"tokenizer.ggml.{name}_token_id"] for name in ("bos", "eos"))
    tokenizer = of(keys)

    tokens = tokenizer.encode("Once")

    assert (tokens[0] == bos, tokens[-1] == eos) == (begins, ends)
    assert tokens.count(bos) == begins and tokens.count(eos) == ends
    assert tokenizer.prompts(["Once"]) == [tokens[: len(tokens) - ends]], "a decoder continues it"
    assert tokenizer.decode(tokens) == "Once"


def test_pieces_have_the_usual_begin_and_end_where_the_file_does_not_say():
    keys = {name: value for name, value in pieces(add_eos_token=True).items() if not name.endswith("_token_id")}

    tokens = of(keys).encode("Once")

    assert (tokens[0], tokens[-1]) == (1, 2)


def test_without_types_the_byte_tokens_of_pieces_are_known_by_their_text():
    keys = pieces(token_type=None)

    assert texts_of(keys, of(keys).encode("☃"))[1:] == ["▁", "<0xE2>", "<0x98>", "<0x83>"]
    assert of(keys).decode(of(keys).encode("a ☃")).endswith("a ☃")


def test_texts_and_turns_end_with_the_tokens_of_the_keys_and_of_well_known_texts():
    texts = [*KINDS["qwen2"]["tokenizer.ggml.tokens"], "<|im_end|>", "<|endoftext|>", "<other>"]
    types = [*KINDS["qwen2"]["tokenizer.ggml.token_type"], NORMAL, CONTROL, CONTROL]
    keys = byte_level("qwen2", tokens=texts, token_type=types, eot_token_id=texts.index("zyx"))
    tokenizer = of(keys)

    assert tokenizer.ends == set(numbers(keys, "<|end|>", "zyx", "<|im_end|>", "<|endoftext|>"))
    assert tokenizer.decode(numbers(keys, "<|im_end|>", "zyx")) == "zyx", "an end is control whatever its type"


def test_a_character_without_a_piece_is_spelled_in_bytes():
    assert texts_of(KINDS["llama"], of(KINDS["llama"]).encode("☃"))[1:] == ["▁", "<0xE2>", "<0x98>", "<0x83>"]


def without(keys, *hidden):
    """A vocabulary in which these texts are those of control tokens."""
    types = zip(keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"], strict=True)
    return keys | {"tokenizer.ggml.token_type": [CONTROL if text in hidden else kind for text, kind in types]}


def test_without_byte_tokens_a_run_of_characters_is_one_unknown(refused):
    keys = without(pieces(), *(f"<0x{byte:02X}>" for byte in range(256)))

    tokens = of(keys).encode("☃☃ a☃")

    assert tokens.count(0) == 2
    assert of(keys).decode(tokens) == "� a�"
    assert of(without(keys, "<unk>")).encode("☃☃ a☃") == tokens, "the file has its number"
    assert of(keys | {"tokenizer.ggml.unknown_token_id": None}).encode("☃☃ a☃") == tokens, "and its type"
    with refused(TextError, "model.gguf: the vocabulary has no token for '☃' and none for the unknown"):
        of(without(keys, "<unk>") | {"tokenizer.ggml.unknown_token_id": None}).encode("☃")


def test_a_byte_that_no_token_has_is_refused_and_not_dropped(refused):
    tokenizer = of(without(KINDS["gpt-2"], "x"))

    with refused(TextError, "model.gguf: the vocabulary has no token for the byte 0x78 of the text"):
        tokenizer.encode("a fox")
    assert tokenizer.decode(tokenizer.encode("a dog")) == "a dog"


def test_bytes_that_are_no_utf8_become_replacement_characters():
    for kind, texts in {"llama": ("<0x61>", "<0xFF>", "<0x62>"), "gpt-2": ("a", "ÿ", "b")}.items():
        assert of(KINDS[kind]).decode(numbers(KINDS[kind], *texts)) == "a�b"


def test_a_text_that_is_no_utf8_is_refused(refused):
    with refused(TextError, r"the text is not UTF-8: '\udcff' at position 2"):
        of(KINDS["gpt-2"]).encode("ab\udcff")


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_never_has_half_a_character(kind):
    tokenizer = of(KINDS[kind])
    spelled_out = "🚀é世"
    if kind == "llama":
        tokens = numbers(KINDS[kind], *(f"<0x{byte:02X}>" for byte in spelled_out.encode()))
    else:
        letters = reference_letters()
        tokens = numbers(KINDS[kind], *(letters[byte] for byte in spelled_out.encode()))

    parts = list(tokenizer.stream(iter(tokens)))

    assert parts == list(spelled_out)
    assert list(tokenizer.stream(tokens[:-1])) == list(spelled_out[:-1]), "an unfinished character is left out"
    for text in TEXTS:
        body = tokenizer.encode(text)
        assert "".join(tokenizer.stream(body)).removeprefix(" " if kind == "llama" else "") == tokenizer.decode(body)


def reference_letters():
    """The letter of each byte, as the package writes it; bytes of characters cannot all be had from texts."""
    step = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    letters = {}
    for point in (*range(0x800), *range(0x800, 0xD800, 64), *range(0x10000, 0x110000, 4096)):
        ((word, _),) = step.pre_tokenize_str(chr(point))
        letters |= dict(zip(chr(point).encode(), word, strict=True))
    return letters


def test_a_token_that_does_not_exist_is_refused(refused):
    tokenizer = of(KINDS["gpt-2"])
    for token in (-1, len(KINDS["gpt-2"]["tokenizer.ggml.tokens"])):
        with refused(ValueError, "tokens must lie in 0 to", f"got {token}"):
            tokenizer.decode([token])


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, ("has no tokenizer", "`perflib forward` runs it without text")),
        ({"tokenizer.ggml.model": "none"}, ("has no tokenizer",)),
        (byte_level("gpt-2", model="bert"), ("tokenizer.ggml.model must be one of gpt2, llama, got 'bert'",)),
        (byte_level("gpt-2", model=3), ("tokenizer.ggml.model must be a text, got 3",)),
        (byte_level("tekken"), ("tokenizer.ggml.pre must be one of llama-bpe, qwen2", "got 'tekken'")),
        (byte_level(None), ("tokenizer.ggml.pre must be one of", "got ''")),
        (byte_level("gpt-2", tokens=None), ("has no tokenizer.ggml.tokens",)),
        (byte_level("gpt-2", tokens=[1, 2]), ("tokenizer.ggml.tokens must be an array of texts, got [1, 2]",)),
        (
            byte_level("gpt-2", tokens=["a", "b", "a"], token_type=None),
            ("tokenizer.ggml.tokens must differ, got 'a' twice",),
        ),
        (byte_level("gpt-2", token_type=[1, 1]), ("tokenizer.ggml.token_type must have", "entries", "got 2")),
        (byte_level("gpt-2", merges=None), ("has no tokenizer.ggml.merges",)),
        (byte_level("gpt-2", merges=["a b", "QQ x"]), ("the merge 'QQ x' needs tokens that the vocabulary does not have",)),
        (byte_level("gpt-2", bos_token_id=9999), ("tokenizer.ggml.bos_token_id must lie in 0 to", "got 9999")),
        (byte_level("gpt-2", bos_token_id="1"), ("tokenizer.ggml.bos_token_id must be an integer, got '1'",)),
        (
            byte_level("gpt-2", bos_token_id=None, add_bos_token=True),
            ("has no tokenizer.ggml.bos_token_id, which every text",),
        ),
        (byte_level("gpt-2", add_bos_token=1), ("tokenizer.ggml.add_bos_token must be true or false, got 1",)),
        (byte_level("gpt-2", add_space_prefix=True), ("tokenizer.ggml.add_space_prefix must be False, got True",)),
        (byte_level("gpt-2", **{"tokenizer.chat_template": 5}), ("tokenizer.chat_template must be a text, got 5",)),
        (pieces(remove_extra_whitespaces=True), ("tokenizer.ggml.remove_extra_whitespaces must be False, got True",)),
        (
            pieces(precompiled_charsmap=[7] * 9),
            ("tokenizer.ggml.precompiled_charsmap must be [], got [7, 7, 7, 7, 7, 7, ...]",),
        ),
        (pieces(scores=None), ("has no tokenizer.ggml.scores",)),
        (pieces(scores=[0.0]), ("tokenizer.ggml.scores must have", "got 1")),
        (
            pieces(scores=[float("nan")] * len(pieces()["tokenizer.ggml.tokens"])),
            ("an array of numbers, none of them NaN, got [nan, nan",),
        ),
        (
            pieces(token_type=[BYTE] * len(pieces()["tokenizer.ggml.tokens"])),
            ("of type byte must be like <0x0A>, got '<unk>'",),
        ),
    ],
)
def test_a_vocabulary_that_cannot_be_used_is_refused(refused, keys, words):
    with refused(GGUFError, "model.gguf: ", *words):
        of(keys)


def test_without_the_package_a_line_says_what_to_install(monkeypatch, refused):
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)

    with refused(TextError, "text needs the package tokenizers; pip install 'perflib[text]'"):
        of(KINDS["gpt-2"])


@pytest.mark.parametrize("kind", ["llama-bpe", "llama"])
def test_a_file_gives_its_tokenizer(tmp_path, refused, kind):
    keys = KINDS[kind]
    shape = replace(PLAIN, vocab_size=len(keys["tokenizer.ggml.tokens"]))
    read = GGUFWeights(write(tmp_path / "model.gguf", shape, general=keys))

    for text in TEXTS:
        assert Tokenizer(read).encode(text) == of(keys).encode(text)
    with refused(GGUFError, "tokenizer.ggml.tokens must have 40 entries, as the embedding has rows, got"):
        Tokenizer(GGUFWeights(write(tmp_path / "other.gguf", PLAIN, general=keys)))
