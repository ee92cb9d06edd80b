"""Continue prompts with the decoder of a GGUF file, and keep the time of every part of its passes.

    generation = Generation(GGUFWeights("model.gguf"), machine(), ["Once upon a time"], tokens=32)
    for text in generation.stream(0):
        print(text, end="", flush=True)
    print(report(generation.passes()))

Everything that can be wrong with prompts and settings is refused before the weights are packed: TextError, GGUFError.
"""

from collections.abc import Iterator, Sequence

from ..display.progress import progress_bar
from ..hardware.facts import Machine
from ..hardware.limits import limits as measured_limits
from ..kernels.checks import positive_integer
from ..timing.sampling import quiet
from .decoder import Decoder, check_prompt, statistics
from .forward import Passes, warm_up
from .gguf import GGUFWeights
from .operation_counts import PACKING
from .sampling import Sampler
from .tokenizer import Tokenizer


class Generation:
    """Prompts, the model that continues them, and what was measured so far; a pass that was interrupted does not count.

    The settings are those of `Decoder.generate`; every prompt begins with the same seed. chat: prompts are questions of a
    user, for the chat template of the file. `note` says why the last text ended early, if it did.
    """

    def __init__(
        self,
        weights: GGUFWeights,
        machine: Machine,
        prompts: Sequence[str],
        *,
        chat: bool = False,
        tokens: int = 128,
        temperature: float = 0.0,
        top_k: int = 0,
        seed: int = 0,
        threads: int = 1,
        progress: bool = True,
    ) -> None:
        self._tokens, self._threads = positive_integer("tokens", tokens), positive_integer("threads", threads)
        self._settings = {"temperature": temperature, "top_k": top_k, "seed": seed}
        Sampler(**self._settings)  # refuses the settings
        self._tokenizer = Tokenizer(weights)
        self._prompts = self._tokenizer.prompts(prompts, chat)
        for number, prompt in enumerate(self._prompts, 1):
            check_prompt(weights.shape, prompt, f"prompt {number}" if self._prompts[1:] else "the prompt")
        self.prompt_stats, self.stats, self.note = statistics(), statistics(), ""
        self._begun: list[tuple[int, int]] = []  # the length of each prompt, and how many passes had generated before it
        with progress_bar(PACKING * weights.shape.parameters, progress, leave=False) as bar:
            bar.set_description_str("limits of one core")
            limits = measured_limits(machine)
            self._limits = limits.peak_gflops().value, max(limits[f"read_{k}_gb_per_s"].value for k in (1, 4, 8))
            bar.set_description_str("compiling, or loading compiled code")
            warm_up(weights, None, threads)
            bar.set_description_str("packing weights")
            self._decoder = Decoder(weights, packed=lambda count: bar.update(PACKING * count))

    def stream(self, number: int) -> Iterator[str]:
        """Text that continues prompt `number`, whole characters as soon as they are there."""
        with quiet(self._threads):
            yield from self._tokenizer.stream(self._continued(self._prompts[number]))

    def _continued(self, prompt: Sequence[int]) -> Iterator[int]:
        self._begun.append((len(prompt), self.stats.count))
        self.note, count, context = "", 0, self._decoder.shape.context_length
        statistics = {"prompt_stats": self.prompt_stats, "stats": self.stats}
        settings = {**self._settings, **statistics, "stop": self._tokenizer.ends, "threads": self._threads}
        for token in self._decoder.generate(prompt, self._tokens, **settings):
            count += 1
            yield token
        if count < self._tokens and len(prompt) + count > context:
            self.note = f"the context of {context} tokens is full after {count} of {self._tokens} tokens"

    def passes(self) -> Passes:
        """What was measured; at least one prompt must have been read."""
        decoder, lengths = self._decoder, [length for length, _ in self._begun[: self.prompt_stats.count]]
        counts = [count for _, count in self._begun] + [self.stats.count]
        passes = [last - first for first, last in zip(counts, counts[1:], strict=False)]
        held = sum(n * length + n * (n - 1) / 2 for length, n in zip(lengths, passes, strict=False))
        peak_gflops, read_gb_per_s = self._limits
        return Passes(
            shape=decoder.shape,
            kind=decoder.kind,
            bytes_per_weight=decoder.bytes_per_weight,
            batch=1,
            prompts=tuple(lengths),
            position=held / max(1, self.stats.count),
            threads=self._threads,
            prompt_stats=self.prompt_stats,
            stats=self.stats,
            weight_bytes=decoder.nbytes,
            peak_gflops=peak_gflops,
            read_gb_per_s=read_gb_per_s,
        )
