"""Vocabularies that tests write into GGUF files, and difficult texts; without tokenizers, who imports this is skipped.

`byte_level(pre)` and `pieces()` give the keys of a file; their tokens were merged across spaces, digits, scripts and marks,
so that where a text is cut into words changes its tokens.
"""

import json
from functools import cache

import pytest

tokenizers = pytest.importorskip("tokenizers", reason="needs the package tokenizers")

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
DIGITS = ("smollm", "starcoder", "refact", "command-r")
PRE = ("llama-bpe", "qwen2", "gpt-2", *DIGITS)
CORPUS = (
    "Once upon a time there was a little girl who lived in a village near the forest.",
    "She said: I'll go, we've seen it, they're here, it's John's, don't, DON'T, I'm, he'd, It'S, WE'VE",
    "The years 1, 12, 123, 1234, 12345, 123456 and 1234567; pi is 3.14159, and 1,000,000 is a million.",
    "def add(self, x):\n    return self.x + x  # adds\n\n\nclass A:\n\tpass\n",
    "a\n\n\nb\r\n\r\nc \t d  e   f    g     h      i\n ",
    "Äpfel und Öl über Straße, naïve café, Łódź, Ñandú, e\u0301 a\u0308",
    "нещо на Български, Привет мир, Ελληνικά κείμενο",
    "你好世界，今天天气很好。日本語のテキスト、한국어 텍스트",
    "שלום עולם, مرحبا بالعالم, नमस्ते दुनिया, สวัสดี, កាន់តែ",
    "🚀 😶\u200d🌫️ 👩\u200d👩\u200d👧 ✅ 🇩🇪 ½ ² Ⅷ ①",
    "aaaa aaaaaaaa bbbbb ababab hahaha ---- ==== ...... !!!!! ((())) <|x|> {{}}",
)
TEXTS = (
    *("", " ", "  ", "   ", "\t", "\n", "\n\n", "\n\n\n", "\t\n", " \n \n", "\r\n\r\n", "a\u00a0b\u2003c\u3000d"),
    *("Hello world", " Hello world", "Hello World!", "  leading and trailing  ", "Hello, y'all! How are you?"),
    *("3", "33", "333", "4444", "55555", "666666", "7777777", "pi is 3.14159 and 1,000,000", "x1y22z333 ½²Ⅷ①٣"),
    *("I'll we've they're it's don't I'm he'd", "DON'T It'S WE'VE 's 't", "'''' '' '"),
    *("Äpfel, naïve café, Straße", "e\u0301a\u0308 combining \u0301 alone, a\u0301\u0302\u0303 stacked"),
    *("нещо на Български", "Ελληνικά και русский mixed with latin", "កាន់តែពិសេសអាចខលចេញ"),
    *("你好世界，今天天气很好。", "日本語のテキスト한국어mixed中文and123", "สวัสดีครับ नमस्ते"),
    *("שלום עולם, مرحبا بالعالم (עברית abc عربي)", "\u202bright to left\u202c"),
    *("🚀 (normal) 😶\u200d🌫️ (joined) ✅", "👩\u200d👩\u200d👧\u200d👦👍🏽🇩🇪🇫🇷", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 \U00020000 \U0010ffff"),
    *("def f(self):\n    if x != y:\n\t\treturn {'a': [1, 2]}  # why?\n\n", "<html>&amp;</html> https://a.b/c?d=e&f#g"),
    *("a" * 300, "ab" * 150 + " " + "Donaudampfschiffahrtsgesellschaft" * 4, "-" * 70 + "=" * 33 + "!?" * 20),
    *(
        "\x00\x01\x7f\x85 control \ufeff\ufffd \ue000",
        "<|end|> and <s> and <|x|> and ▁ stay text",
        "\u200b\u200d\u2028\u2029",
    ),
)


@cache
def _trained(size, first):
    """Texts and merges of a vocabulary that knows no words: each line of the corpus is one."""
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    steps = tokenizers.pre_tokenizers
    model.pre_tokenizer = steps.ByteLevel(False, use_regex=False) if first else steps.Split(" ", "merged_with_next")
    letters = steps.ByteLevel.alphabet() if first else []
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=size, initial_alphabet=letters, show_progress=False)
    model.train_from_iterator(CORPUS if first else [line.replace(" ", "▁") for line in CORPUS], trainer)
    trained = json.loads(model.to_str())["model"]
    merges = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in trained["merges"]]
    return sorted(trained["vocab"], key=trained["vocab"].get), merges


def byte_level(pre, **changes):
    """Keys of `gpt2`: trained tokens, one whole word that no merge makes, an added token and three control tokens."""
    texts, merges = _trained(700, True)
    added = {"zyx": NORMAL, "<|note|>": USER_DEFINED, "<s>": CONTROL, "<|end|>": CONTROL, "<|user|>": CONTROL}
    texts = [*texts, *added]
    keys = {
        "model": "gpt2",
        "pre": pre,
        "tokens": texts,
        "token_type": [NORMAL] * (len(texts) - len(added)) + list(added.values()),
        "merges": [" ".join(merge) for merge in merges],
        "bos_token_id": texts.index("<s>"),
        "eos_token_id": texts.index("<|end|>"),
    }
    return _full(keys | changes)


def pieces(**changes):
    """Keys of `llama`: unknown, control and byte tokens, then pieces by their score, then an added token."""
    texts, merges = _trained(700, False)
    made = [left + right for left, right in merges]
    letters = [text for text in texts if text not in set(made)]
    first = {"<unk>": UNKNOWN, "<s>": CONTROL, "</s>": CONTROL} | {f"<0x{byte:02X}>": BYTE for byte in range(256)}
    normal = [*dict.fromkeys(made), *letters]
    last = {"<|note|>": USER_DEFINED, "<|user|>": CONTROL}
    keys = {
        "model": "llama",
        "tokens": [*first, *normal, *last],
        "token_type": [*first.values(), *[NORMAL] * len(normal), *last.values()],
        "scores": [0.0] * len(first) + [-float(rank) for rank in range(len(normal))] + [0.0] * len(last),
        "bos_token_id": 1,
        "eos_token_id": 2,
        "unknown_token_id": 0,
    }
    return _full(keys | changes)


def _full(keys):
    """As they stand in a file; a name with a dot stands there as it is."""
    return {name if "." in name else f"tokenizer.ggml.{name}": value for name, value in keys.items()}
