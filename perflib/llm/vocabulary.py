"""Read the vocabulary that a GGUF file brings under `tokenizer.ggml.`, and refuse what text cannot be made of.

Raises GGUFError, one line with the file, the key and what is wrong with it.
"""

import re
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path
from reprlib import repr as shortened
from typing import TYPE_CHECKING, Any

from ..errors import GGUFError

if TYPE_CHECKING:
    from .gguf import GGUFWeights

KEYS = "tokenizer.ggml."
MODELS = ("gpt2", "llama")
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
"""Types of tokens (GGUF standard); any other is treated as normal."""
BYTE_TOKEN = re.compile("<0x([0-9A-F]{2})>")
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GPT_2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
SPLITS = {
    "llama-bpe": (LLAMA_3,),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen"), (LLAMA_3.replace("{1,3}", ""),)),
    "gpt-2": (GPT_2,),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r"), (r"\p{N}", GPT_2)),
}
"""Patterns of words by `tokenizer.ggml.pre`, each applied to what the one before makes (`tokenizer.json` of the models)."""
WHOLE_WORDS = "llama-bpe"
"""The kind that takes a word that is a token as it is, whatever merges make of it, and begins a text with bos."""
END_KEYS = ("eos", "eot", "eom", "fim_pad", "fim_rep", "fim_sep")
END_TEXTS = (
    *("<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<end_of_utterance>"),
    *("<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "<｜end▁of▁sentence｜>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"),
)
"""Tokens that end a text or a turn, by the key of their number or by their text, whatever their type (llama.cpp)."""
NEUTRAL = {"add_sep_token": False, "remove_extra_whitespaces": False, "precompiled_charsmap": []}
"""Keys that change the tokens and are not computed, with the value at which they do not."""

ONE = {str: "a text", int: "an integer", bool: "true or false", list: "an array"}
MANY = {str: "texts", int: "integers", float: "numbers, none of them NaN"}


@dataclass(frozen=True)
class Vocabulary:
    """Texts, types and scores by the number of a token, merges in their order, and how a text begins and ends."""

    path: Path
    model: str
    pre: str
    texts: tuple[str, ...]
    types: tuple[int, ...]
    scores: tuple[float, ...]
    merges: tuple[str, ...]
    bos: int | None
    eos: int | None
    unknown: int | None
    add_bos: bool
    add_eos: bool
    add_space_prefix: bool
    ends: frozenset[int]
    template: str | None
    """Of a chat, in the language Jinja."""

    def numbers(self, *without: int) -> dict[str, int]:
        """Numbers of the tokens by their text, without those of some types."""
        return {text: token for token, text in enumerate(self.texts) if self.types[token] not in without}


def read_vocabulary(weights: "GGUFWeights") -> Vocabulary:
    """The vocabulary of a file, whose embedding must have a row for each token."""
    keys = _Keys(weights)
    if (model := keys.one("model", str, "none")) in ("none", "no_vocab"):
        raise keys.error("has no tokenizer (tokenizer.ggml.model); `perflib forward` runs it without text")
    keys.check("model", model, MODELS)
    is_llama, pre = model == "llama", keys.one("pre", str, "") if model == "gpt2" else ""
    if not is_llama:
        keys.check("pre", pre, tuple(SPLITS))
    for name, value in NEUTRAL.items():
        keys.check(name, keys.one(name, type(value), value), (value,))
    if not is_llama:
        keys.check("add_space_prefix", keys.one("add_space_prefix", bool, False), (False,))
    texts = tuple(starmap(_named, enumerate(keys.many("tokens", str))))
    if len(texts) != (rows := weights.shape.vocab_size):
        raise keys.error(f"{KEYS}tokens must have {rows} entries, as the embedding has rows, got {len(texts)}")
    numbers = {text: token for token, text in enumerate(texts)}
    if len(numbers) < len(texts):
        raise keys.error(f"{KEYS}tokens must differ, got {next(t for n, t in enumerate(texts) if numbers[t] != n)!r} twice")
    untyped = [BYTE if is_llama and BYTE_TOKEN.fullmatch(text) else NORMAL for text in texts]
    types = keys.many("token_type", int, untyped, len(texts))
    for text in numbers.keys() & END_TEXTS:
        types[numbers[text]] = CONTROL
    bos, eos = (keys.token(name, len(texts), number if is_llama else None) for name, number in (("bos", 1), ("eos", 2)))
    ends = {keys.token(name, len(texts)) for name in END_KEYS} | {eos} | {numbers.get(text) for text in END_TEXTS}
    return Vocabulary(
        path=weights.path,
        model=model,
        pre=pre,
        texts=texts,
        types=tuple(types),
        scores=tuple(keys.many("scores", float, None, len(texts))) if is_llama else (),
        merges=() if is_llama else tuple(keys.many("merges", str)),
        bos=bos,
        eos=eos,
        unknown=keys.token("unknown", len(texts), next((n for n, kind in enumerate(types) if kind == UNKNOWN), None)),
        add_bos=keys.added("bos", bos, is_llama or pre == WHOLE_WORDS),
        add_eos=keys.added("eos", eos, False),
        add_space_prefix=is_llama and keys.one("add_space_prefix", bool, True),
        ends=frozenset(ends - {None}),
        template=keys.template(),
    )


def _named(token: int, text: str) -> str:
    return text or f"[EMPTY_{token}]"


class _Keys:
    """The keys below `tokenizer.ggml.` of a file, each of the type that it must have."""

    def __init__(self, weights: "GGUFWeights") -> None:
        self._weights = weights

    def error(self, what: str) -> GGUFError:
        return GGUFError(f"{self._weights.path}: {what}")

    def check(self, name: str, value: Any, allowed: tuple) -> None:
        if value not in allowed:
            choice = "one of " * bool(allowed[1:]) + ", ".join(map(str, allowed))
            raise self.error(f"{KEYS}{name} must be {choice}, got {shortened(value)}")

    def one(self, name: str, kind: type, default: Any = None) -> Any:
        value = self._weights.metadata(KEYS + name)
        if value is None:
            return default
        if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
            raise self.error(f"{KEYS}{name} must be {ONE[kind]}, got {shortened(value)}")
        return value

    def many(self, name: str, kind: type, default: list | None = None, count: int | None = None) -> list:
        """An array; integers may stand for floats, and no number is NaN."""
        values = self._weights.metadata(KEYS + name)
        if values is None:
            values = default
        if values is None:
            raise self.error(f"has no {KEYS}{name}")
        kinds = (float, int) if kind is float else (kind,)
        if not isinstance(values, list) or any(type(value) not in kinds or value != value for value in values):
            raise self.error(f"{KEYS}{name} must be an array of {MANY[kind]}, got {shortened(values)}")
        if count is not None and len(values) != count:
            raise self.error(f"{KEYS}{name} must have {count} entries, as there are tokens, got {len(values)}")
        return values

    def token(self, name: str, count: int, default: int | None = None) -> int | None:
        """The number of a token that has a role."""
        number = self.one(f"{name}_token_id", int, default)
        if number is not None and not 0 <= number < count:
            raise self.error(f"{KEYS}{name}_token_id must lie in 0 to {count - 1}, got {number}")
        return number

    def added(self, name: str, token: int | None, default: bool) -> bool:
        """Whether every text gets the token."""
        is_added = self.one(f"add_{name}_token", bool, default)
        if is_added and token is None:
            raise self.error(f"has no {KEYS}{name}_token_id, which every text gets")
        return is_added

    def template(self) -> str | None:
        value = self._weights.metadata("tokenizer.chat_template")
        if not isinstance(value, str | None):
            raise self.error(f"tokenizer.chat_template must be {ONE[str]}, got {shortened(value)}")
        return value
