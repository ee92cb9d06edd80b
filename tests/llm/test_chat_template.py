"""Chat templates: what they write, and that none of them gets further than its text."""

import pytest

from perflib.errors import TextError
from perflib.llm.chat_template import MOST_CHARACTERS, render

pytest.importorskip("jinja2", reason="needs the package jinja2")

TURNS = """{{ bos_token }}
{%- for message in messages %}
    {%- if message['role'] not in ['user', 'system'] %}{{ raise_exception('no such role') }}{% endif %}
    {{- '<|' + message['role'] + '|>\\n' + message['content'] | trim + '<|end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|assistant|>\\n' }}
{%- endif %}
"""
NAMES = {"bos_token": "<s>", "eos_token": "</s>"}


def test_a_template_writes_each_question_as_a_turn_and_begins_the_answer():
    texts = render(TURNS, [" How are you? ", "{{ 1 + 1 }} <|user|> é🚀"], NAMES)

    assert texts == [
        "<s><|user|>\nHow are you?<|end|>\n<|assistant|>\n",
        "<s><|user|>\n{{ 1 + 1 }} <|user|> é🚀<|end|>\n<|assistant|>\n",
    ]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{% for m in messages %}{% if m.role == 'user' %}{% continue %}{% endif %}x{% endfor %}.", "."),
        ("{% if tools %}x{% endif %}{% if documents is defined %}y{% endif %}{{ messages | tojson }}", None),
        ("   {% if true %}\n   a\n   {% endif %}\n", "   a\n"),
        ("{% set ns = namespace(n=0) %}{% for i in range(5) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}", "10"),
        ("{{ strftime_now('%%') }}{{ eos_token }}", "%</s>"),
    ],
)
def test_a_template_has_what_templates_of_models_count_on(template, text):
    assert render(template, ["<q>é"], NAMES) == [text or '[{"role": "user", "content": "<q>é"}]']


GROWING = "{% set ns = namespace(x='x') %}{% for i in range(9) %}{% set ns.x = ns.x * 1000 %}{% endfor %}{{ ns.x }}"
LOOP = "{% for i in range(99999) %}{% for j in range(99999) %}{% set x = i * j %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (LOOP, "did not end within 2 s of CPU time"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "RecursionError"),
        ("{% for i in range(1000000) %}{% endfor %}", "OverflowError: Range too big"),
        (GROWING, "it needs more than 1024 MiB of memory"),
        ("{{ 'x' * 10 ** 11 }}", "it needs more than 1024 MiB of memory"),
        ("{{ 'x' * 2000000 }}", f"it writes more than {MOST_CHARACTERS} characters"),
        ("{% for i in range(90000) %}0123456789012{% endfor %}", f"it writes more than {MOST_CHARACTERS} characters"),
        ("{{ 7 ** (10 ** 9) }}", "did not end within 2 s of CPU time"),
        ("{% include '/etc/passwd' %}", "no loader"),
        ("{% import 'os' as os %}{{ os.listdir('/') }}", "no loader"),
        ("{{ open('/etc/passwd').read() }}", "'open' is undefined"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "it reaches for __class__ of a str"),
        ("{{ cycler.__init__.__globals__.os.popen('id').read() }}", "it reaches for __init__ of a type"),
        ("{{ raise_exception.__globals__['sys'].exit(0) }}", "it reaches for __globals__ of a function"),
        ("{{ messages.append(1) }}", "it reaches for append of a list"),
        ("{{ raise_exception.__code__ }}", "it reaches for __code__ of a function"),
        ("{{ raise_exception('only one\nquestion') }}", "ValueError: only one"),
        ("{% for %}", "TemplateSyntaxError"),
        ("{{ messages[7].content }}", "UndefinedError"),
    ],
)
def test_a_template_that_fails_or_reaches_too_far_is_refused_in_one_line(refused, template, words):
    with refused(TextError, "the chat template is refused: ", words):
        render(template, ["Hello"], NAMES)


def test_without_the_package_a_line_says_what_to_install(monkeypatch, refused):
    monkeypatch.setattr("perflib.llm.chat_template.find_spec", lambda name: None)

    with refused(TextError, "needs the package jinja2; pip install 'perflib[text]'"):
        render(TURNS, ["Hello"], NAMES)
