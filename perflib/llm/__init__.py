"""A decoder on these kernels, its text, and where the time of its passes goes."""

from .tokenizer import Tokenizer as Tokenizer
