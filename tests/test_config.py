"""Settings: declared once, loud where they are wrong, the same after a round trip through the environment."""

import pytest

from inspector.config import Config, described, variable
from runs.errors import BadConfiguration


def test_defaults_are_for_this_machine_alone() -> None:
    config = Config.from_environ({"PATH": "/bin"})
    assert (config.host, config.port, config.is_local, config.paths) == ("127.0.0.1", 8765, True, ())
    assert config.hosts() == ["localhost", "127.0.0.1", "[::1]"]
    assert 1 <= config.workers <= 4


def test_each_process_makes_its_own_key_unless_it_is_given() -> None:
    first, second = Config.from_environ({}), Config.from_environ({})
    assert first.secret_key != second.secret_key
    assert Config.from_environ(first.to_environ()).secret_key == first.secret_key


def test_everything_survives_the_environment() -> None:
    config = Config(
        paths=("/a b/*.sqlite", "shop=/c,d"),
        host="::1",
        port=0,
        query_seconds=0.25,
        allowed_hosts=("inspect.example", "b.example"),
        now="2026-11-22T03:10:00Z",
        debug=True,
    )
    assert Config.from_environ(config.to_environ()) == config
    assert config.hosts()[-2:] == ["inspect.example", "b.example"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("DURASCOPE_PORT", "70000", "a whole number from 0 to 65,535"),
        ("DURASCOPE_PORT", "-1", "a whole number"),
        ("DURASCOPE_PORT", "８０", "a whole number"),
        ("DURASCOPE_WORKERS", "0", "from 1 to 64"),
        ("DURASCOPE_QUERY_SECONDS", "nan", "a number of seconds"),
        ("DURASCOPE_QUERY_SECONDS", "soon", "a number of seconds"),
        ("DURASCOPE_NOW", "yesterday", "an instant like"),
        ("DURASCOPE_DEBUG", "yes", "0 or 1"),
        ("DURASCOPE_ALLOWED_HOSTS", "a.example,*", "host names"),
    ],
)
def test_a_bad_value_is_refused_by_name(name: str, value: str, said: str) -> None:
    with pytest.raises(BadConfiguration) as refused:
        Config.from_environ({name: value})
    assert name in str(refused.value)
    assert said in str(refused.value)


def test_a_misspelt_variable_is_refused_and_the_real_ones_are_named() -> None:
    with pytest.raises(BadConfiguration) as refused:
        Config.from_environ({"DURASCOPE_PROT": "1"})
    assert "DURASCOPE_PROT is not a setting" in str(refused.value)
    assert "DURASCOPE_PORT" in str(refused.value)


def test_the_help_describes_every_setting() -> None:
    lines = described().splitlines()
    assert [line.split()[0] for line in lines] == [variable(name) for name in Config.__slots__]
    assert all(len(line.split()) > 3 for line in lines)
