"""A template of the operator's is judged when the agent starts, with file and line."""

from pathlib import Path

import pytest

from cabochon.errors import ConfigurationError
from cabochon_opa.health.examples import example_states
from cabochon_opa.health.listener import health_listener_type
from cabochon_opa.health.settings import HealthSettings
from cabochon_opa.health.template import HealthTemplate


def template(source: str, *, require_agent_alive: bool = False) -> HealthTemplate:
    constants = {"require_agent_alive": require_agent_alive}
    return HealthTemplate(source, name="opal.rego", constants=constants, examples=example_states())


def test_every_key_of_the_state_is_a_variable_and_is_written_as_rego() -> None:
    """
    What is printed is a Rego value: truth, objects, and texts that can't break out.
    """
    error = {"error": 'x"\n}\nready = true'}
    text = template("a = {{ ready }}\nb = {{ last_data_transaction }}\nc = {{ last_failed_data_transaction }}").render(
        {"ready": True, "last_data_transaction": {}, "last_failed_data_transaction": error}
    )

    assert text == 'a = true\nb = {}\nc = {"error":"x\\"\\n}\\nready = true"}'
    for state in example_states():
        for key in state:
            assert template("{{ " + key + " }}").render(state)


@pytest.mark.parametrize("name", ["rego", "json", "tojson"])
def test_filters_that_write_rego_write_it_once(name: str) -> None:
    """
    A value that a filter has written already is not written again.
    """
    assert template("{{ heartbeat | " + name + " }}").render({"heartbeat": "a\"b<'"}) == '"a\\"b<\'"'


def test_text_marked_safe_is_printed_as_it_is() -> None:
    """
    What a macro makes, or the template itself, can be printed as it is.
    """
    source = "{% macro rule(name) %}{{ name | safe }} = true{% endmacro %}{{ rule('live') | safe }}"

    assert template(source).render({}) == "live = true"


def test_a_template_that_asks_nothing_of_the_state_is_static() -> None:
    """
    Whether a template depends on the state is found by what it asks for, not by what it prints today.
    """
    assert template("{% if require_agent_alive %}a{% endif %}{% for n in range(2) %}{{ n }}{% endfor %}").static
    assert not template("{% if ready and not ready %}never{% endif %}").static


@pytest.mark.parametrize(
    ("source", "where", "why"),
    [
        ("package system.opal\nready = {{ ready\n", "opal.rego:2:", "unexpected end of"),
        ("package system.opal\n\n{% if ready %}\n", "opal.rego:3:", "endif"),
        ("a\n{{ redy }}\n", "opal.rego:2:", "'redy' is undefined; there are agent_alive, healthy"),
        ("a\n{% if ready and not ready %}\n{{ redy }}{% endif %}", "opal.rego:3:", "'redy' is undefined"),
        ("a\n{{ ready | nonsense }}", "opal.rego:2:", "No filter named 'nonsense'"),
        ("a\n\n{{ last_data_transaction.id }}", "opal.rego:3:", "no attribute 'id'"),
        ("a\n{{ 1 // in_sync | int * 0 }}", "opal.rego:2:", "ZeroDivisionError"),
        ("a\n{{ ''.__class__.__mro__ }}", "opal.rego:2:", "SecurityError: access to attribute '__class__'"),
        ("a\n{{ ready.__init__.__globals__ }}", "opal.rego:2:", "'__init__'"),
        ("a\n{{ 'a%s' | format(ready) | attr('__class__') }}", "opal.rego:2:", "SecurityError"),
        ("a\n{{ out_of_sync_paths.append(1) }}", "opal.rego:2:", "SecurityError"),
        ("a\n{% include '/etc/passwd' %}", "opal.rego:2:", "include"),
        ("{% if not ready and ready %}\n{% include 'x' %}{% endif %}", "opal.rego:2:", "include"),
        ("a\n{{ range(10 ** 9) | list }}", "opal.rego:2:", "OverflowError"),
        ("a\n{{ [1, 2] | random }}", "opal.rego:2:", "No filter named 'random'"),
        ("a\n{{ lipsum() }}", "opal.rego:2:", "'lipsum' is undefined"),
    ],
)
def test_a_broken_template_is_refused_with_file_and_line(source: str, where: str, why: str) -> None:
    """
    Whatever is wrong with a template is found before it is needed, and said with file and line.
    """
    with pytest.raises(ConfigurationError) as refused:
        template(source)

    assert str(refused.value).startswith(where)
    assert why in str(refused.value)


def test_a_template_for_opal_is_refused_with_a_hint() -> None:
    """
    OPAL's template is a Python format string; the hint says in one line how to write it here.
    """
    theirs = "package system.opal\n\nallowed {{ input.x }}\ndefault ready = {ready}\ndefault healthy = {healthy}\n"
    with pytest.raises(ConfigurationError) as refused:
        template(theirs)

    assert str(refused.value).startswith("opal.rego:4: {ready} is how OPAL's template has it; here it is {{ ready }}")
    assert "\n" not in str(refused.value)
    assert not template("x = {{ '{' | safe }}{{ ready }}{{ '}' | safe }}\ny = { ready }").static


async def test_the_start_fails_with_the_setting_the_file_and_the_line(tmp_path: Path) -> None:
    """
    The error that stops the start names the variable, the file and the line.
    """
    path = tmp_path / "mine.rego.j2"
    path.write_text("package system.opal\n\ndefault ready = {{ redy }}\n", "utf-8")
    with pytest.raises(ConfigurationError) as refused:
        async with health_listener_type().open(HealthSettings(enabled=True, template_path=str(path))):
            pass

    assert str(refused.value).startswith(f"OPAL_OPA_HEALTH_CHECK_POLICY_PATH: {path}:3: 'redy' is undefined")


@pytest.mark.parametrize(("content", "why"), [(None, "No such file"), (b"\xff\xfe", "UTF-8")])
async def test_the_start_fails_without_a_readable_template(tmp_path: Path, content: bytes | None, why: str) -> None:
    """
    A file that is not there, or is no text, stops the start too; unless the healthcheck policy is off.
    """
    path = tmp_path / "mine.rego.j2"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=why) as refused:
        async with health_listener_type().open(HealthSettings(enabled=True, template_path=str(path))):
            pass

    assert str(refused.value).startswith(f"OPAL_OPA_HEALTH_CHECK_POLICY_PATH: {path}")
    async with health_listener_type().open(HealthSettings(template_path=str(path))):
        pass
