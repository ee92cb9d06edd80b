"""Turn text into tokens and tokens into text, by the vocabulary that a GGUF file brings.

    tokenizer = Tokenizer(weights)
    (prompt,) = tokenizer.prompts(["Once upon a time"])
    for text in tokenizer.stream(decoder.generate(prompt, stop=tokenizer.ends)):
        print(text, end="", flush=True)

`gpt2` is byte-level BPE (Radford et al., 2019): patterns split the text into words, merges join the bytes of a word, by the
package `tokenizers`. `llama` is the BPE of SentencePiece (Kudo and Richardson, 2018): pieces have scores, "▁" stands for a
space, a character without a piece is spelled in bytes. That one is computed here: merges rebuilt from the scores, as
`tokenizers` needs them, break ties by rank instead of place, and never join characters that are no pieces themselves.
As in llama.cpp, no text is normalised. Raises GGUFError where the file is wrong, TextError where a text is.
"""

import codecs
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from ..errors import GGUFError, TextError
from .chat_template import render
from .vocabulary import BYTE, BYTE_TOKEN, CONTROL, SPLITS, UNKNOWN, USER_DEFINED, WHOLE_WORDS, Vocabulary, read_vocabulary

if TYPE_CHECKING:
    from .gguf import GGUFWeights

SPACE = "▁"
PRINTABLE = (*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1))
OTHERS = tuple(byte for byte in range(256) if byte not in PRINTABLE)
BYTES = {chr(byte): byte for byte in PRINTABLE} | {chr(256 + number): byte for number, byte in enumerate(OTHERS)}
"""The byte behind each letter of a token of `gpt2`: a printable byte is its own letter (`encoder.py` of GPT-2)."""

Encode = Callable[[str], list[int]]


class Tokenizer:
    """The tokenizer of a file. `ends` are the tokens that end a text or a turn."""

    def __init__(self, weights: "GGUFWeights") -> None:
        self._vocabulary = vocabulary = read_vocabulary(weights)
        self.ends = vocabulary.ends
        self._encode = _byte_level(vocabulary) if vocabulary.model == "gpt2" else _sentencepiece(vocabulary)
        self._numbers = vocabulary.numbers()
        self._added = _pattern(vocabulary, USER_DEFINED), _pattern(vocabulary, USER_DEFINED, CONTROL, UNKNOWN)

    def encode(self, text: str, control: bool = False) -> list[int]:
        """Tokens of a text, with the ones that the file begins and ends each text with.

        control: whether control tokens that are written in the text are these tokens, as in the text of a chat template.
        """
        vocabulary = self._vocabulary
        first, last = [vocabulary.bos] * vocabulary.add_bos, [vocabulary.eos] * vocabulary.add_eos
        return [*first, *self._body(text, control), *last]

    def prompts(self, texts: Sequence[str], chat: bool = False) -> list[list[int]]:
        """Tokens of each text for a decoder to continue; `chat`: of what the file's template makes of the text."""
        vocabulary = self._vocabulary
        begins = [[vocabulary.bos] * vocabulary.add_bos for _ in texts]
        if chat:
            names = {"bos_token": vocabulary.bos, "eos_token": vocabulary.eos}
            names = {name: "" if token is None else vocabulary.texts[token] for name, token in names.items()}
            if vocabulary.template is None:
                raise TextError(f"{vocabulary.path}: has no tokenizer.chat_template; leave out --chat")
            texts = render(vocabulary.template, texts, names)
            begins = [b if b and not t.startswith(names["bos_token"]) else [] for b, t in zip(begins, texts, strict=True)]
        return [[*begin, *self._body(text, chat)] for begin, text in zip(begins, texts, strict=True)]

    def decode(self, tokens: Iterable[int]) -> str:
        """Text of whole texts: `decode(encode(text))` is the text. U+FFFD stands for bytes that are no UTF-8."""
        parts, may_strip = [], self._vocabulary.add_space_prefix
        for token in tokens:
            part, is_added = self._spelling(token), self._vocabulary.types[token] in (USER_DEFINED, CONTROL)
            parts.append(part.removeprefix(b" ") if may_strip and not is_added else part)
            may_strip = self._vocabulary.add_space_prefix and is_added
        return b"".join(parts).decode(errors="replace")

    def stream(self, tokens: Iterable[int]) -> Iterator[str]:
        """Text that continues another, as soon as its characters are whole; what is no character at the end is left out."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for token in tokens:
            if text := decoder.decode(self._spelling(token)):
                yield text

    def _body(self, text: str, control: bool) -> list[int]:
        try:
            text.encode()
        except UnicodeEncodeError as problem:
            raise TextError(f"the text is not UTF-8: {text[problem.start]!r} at position {problem.start}") from None
        tokens: list[int] = []
        for number, part in enumerate(self._added[control].split(text)):
            if number % 2:  # what the pattern matched
                tokens.append(self._numbers[part])
            elif part:
                tokens += self._encode(part)
        return tokens

    def _spelling(self, token: int) -> bytes:
        """The bytes that a token stands for; control tokens stand for none."""
        vocabulary = self._vocabulary
        if not 0 <= token < len(vocabulary.texts):
            raise ValueError(f"tokens must lie in 0 to {len(vocabulary.texts) - 1}, got {token}")
        text, kind = vocabulary.texts[token], vocabulary.types[token]
        if kind == CONTROL:
            return b""
        if kind == UNKNOWN:
            return "\N{REPLACEMENT CHARACTER}".encode()
        if kind == USER_DEFINED:
            return text.encode()
        if kind == BYTE:
            return bytes([_byte(vocabulary, text)])
        if vocabulary.model == "llama":
            return text.replace(SPACE, " ").encode()
        return b"".join(bytes([BYTES[letter]]) if letter in BYTES else letter.encode() for letter in text)


def _pattern(vocabulary: Vocabulary, *types: int) -> re.Pattern:
    """Matches the texts of the tokens of these types, the longest first; nothing where there are none."""
    texts = (text for text, kind in zip(vocabulary.texts, vocabulary.types, strict=True) if kind in types)
    return re.compile(f"({'|'.join(map(re.escape, sorted(texts, key=len, reverse=True))) or '(?!)'})")


def _byte(vocabulary: Vocabulary, text: str) -> int:
    if not (match := BYTE_TOKEN.fullmatch(text)):
        raise GGUFError(f"{vocabulary.path}: the text of a token of type byte must be like <0x0A>, got {text!r}")
    return int(match[1], 16)


def _byte_level(vocabulary: Vocabulary) -> Encode:
    """Split into words, then join letters of bytes in the order of the merges."""
    try:
        from tokenizers import Regex, models, pre_tokenizers  # the extra `text`
        from tokenizers import Tokenizer as Pipeline
    except ModuleNotFoundError:
        raise TextError("text needs the package tokenizers; pip install 'perflib[text]'") from None
    numbers, known, merges = vocabulary.numbers(CONTROL, UNKNOWN), vocabulary.numbers(), []
    for merge in dict.fromkeys(vocabulary.merges):
        left, _, right = merge.partition(" ")
        if {left, right, left + right} <= numbers.keys():
            merges.append((left, right))
        elif not {left, right, left + right} <= known.keys():
            raise GGUFError(f"{vocabulary.path}: the merge {merge!r} needs tokens that the vocabulary does not have")
    pipeline = Pipeline(models.BPE(vocab=numbers, merges=merges, ignore_merges=vocabulary.pre == WHOLE_WORDS))
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in SPLITS[vocabulary.pre]]
    pipeline.pre_tokenizer = pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(False, use_regex=False)])
    missing = {byte for letter, byte in BYTES.items() if letter not in numbers}

    def encode(text: str) -> list[int]:
        if lost := missing.intersection(text.encode()):
            raise TextError(f"{vocabulary.path}: the vocabulary has no token for the byte 0x{min(lost):02X} of the text")
        return pipeline.encode(text, add_special_tokens=False).ids

    return encode


def _sentencepiece(vocabulary: Vocabulary) -> Encode:
    """Join characters to pieces by score, spell what is no piece in bytes, or say that it is unknown."""
    numbers = vocabulary.numbers(CONTROL, UNKNOWN, BYTE)
    scores = {text: vocabulary.scores[token] for text, token in numbers.items()}
    spelled = {_byte(vocabulary, t): n for n, t in enumerate(vocabulary.texts) if vocabulary.types[n] == BYTE}

    def encode(text: str) -> list[int]:
        tokens: list[int] = []
        for piece in _pieces(SPACE * vocabulary.add_space_prefix + text.replace(" ", SPACE), scores):
            if piece in numbers:
                tokens.append(numbers[piece])
            elif spelled.keys() >= set(piece.encode()):
                tokens += map(spelled.__getitem__, piece.encode())
            elif vocabulary.unknown is None:
                raise TextError(f"{vocabulary.path}: the vocabulary has no token for {piece!r} and none for the unknown")
            elif tokens[-1:] != [vocabulary.unknown]:  # one for a run of them
                tokens.append(vocabulary.unknown)
        return tokens

    return encode


def _pieces(text: str, scores: Mapping[str, float]) -> list[str]:
    """Join the two neighbours whose union has the highest score, the leftmost of equal ones, until no union is a piece."""
    parts, count = list(text), len(text)
    before, after = [*range(-1, count - 1)], [*range(1, count + 1)]
    candidates: list[tuple[float, int, int, int]] = []

    def propose(left: int, right: int) -> None:
        if left >= 0 and right < count and (union := parts[left] + parts[right]) in scores:
            heappush(candidates, (-scores[union], left, right, len(union)))

    for left in range(count - 1):
        propose(left, left + 1)
    while candidates:
        _, left, right, size = heappop(candidates)
        if not parts[left] or not parts[right] or len(parts[left]) + len(parts[right]) != size:
            continue  # one of them is part of another piece by now
        parts[left] += parts[right]
        parts[right] = ""
        after[left] = after[right]
        if after[right] < count:
            before[after[right]] = left
        propose(before[left], left)
        propose(left, after[left])
    return [part for part in parts if part]
