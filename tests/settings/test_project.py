"""Reading sojourn.yaml: types, the environment, secrets, places of problems."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

from engine.settings.problems import Problem
from engine.settings.project import Settings, SettingsError, SourceSettings, load_settings, remote_channels

DOCUMENTED = """\
project: skin-co
api: {host: 127.0.0.1, port: 8700, public_url: "https://m.skin.example"}
write_keys: {website: "${WEBSITE_WRITE_KEY}", backend: "${BACKEND_WRITE_KEY}"}   # one per source
tokens: {ops: {token: "${OPS_TOKEN}", role: operator}}     # author | operator | analyst | privacy | source
channels:
  email: {use: channels.smtp, host: 127.0.0.1, port: 1025, rate: 100/s}
  sms: {use: channels.webhook, url: "http://127.0.0.1:9000/sms"}
  push: {use: channels.file, folder: .sojourn/messages}
database: {url: "${SOJOURN_DATABASE_URL:-embedded}"}
temporal: {address: "${SOJOURN_TEMPORAL_ADDRESS:-embedded}", namespace: default}
cohort: {max_size: 500}
encryption: {key: "${SOJOURN_ENCRYPTION_KEY:-}"}
time_scale: 1
"""
KEYS = {"WEBSITE_WRITE_KEY": "w-1", "BACKEND_WRITE_KEY": "b-1", "OPS_TOKEN": "t-1"}


def load(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Settings:
    (folder / "sojourn.yaml").write_text(text)
    return load_settings(folder, environ or {})


def problems(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> list[Problem]:
    with pytest.raises(SettingsError) as refused:
        load(folder, text, environ)
    return refused.value.problems


def test_the_documented_file_is_read(tmp_path: Path) -> None:
    """The example of the language reference gives typed settings with what the environment says."""
    settings = load(tmp_path, DOCUMENTED, KEYS)
    assert "skin-co" == settings.project
    assert 8700 == settings.api.port
    assert "w-1" == settings.write_keys["website"].get_secret_value()
    assert "operator" == settings.tokens["ops"].role
    assert 100.0 == settings.channels["email"].rate
    assert {"use": "channels.smtp", "rate": 100.0, "address": None, "host": "127.0.0.1", "port": "1025"} == settings.channels[
        "email"
    ].config()
    assert settings.database_url is None
    assert settings.temporal_address is None
    assert settings.encryption.key is None
    assert 1 == settings.relay.partitions


def test_a_project_without_a_file_is_closed(tmp_path: Path) -> None:
    """Without sojourn.yaml nobody has a write key or a token, nothing is sent, and the API listens on this machine only."""
    settings = load_settings(tmp_path, {})
    assert ({}, {}, {}) == (settings.write_keys, settings.tokens, settings.channels)
    assert "127.0.0.1" == settings.api.host
    assert settings.database_url is None


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """The three variables point elsewhere whatever the file says, or without any file."""
    environ = {
        "SOJOURN_DATABASE_URL": "postgresql://db/x",
        "SOJOURN_TEMPORAL_ADDRESS": "temporal:7233",
        "SOJOURN_PUBLIC_URL": "https://m.example",
    }
    for settings in (load_settings(tmp_path, environ), load(tmp_path, "database: {url: embedded}\n", environ)):
        assert "postgresql://db/x" == settings.database_url
        assert "temporal:7233" == settings.temporal_address
        assert "https://m.example" == settings.api.public_url


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("write_keys: {web: s3cret-value}", "write_keys.web"),
        ("tokens: {ops: {token: s3cret-value, role: operator}}", "tokens.ops.token"),
        ("encryption: {key: s3cret-value}", "encryption.key"),
        ('encryption: {key: "${KEY:-s3cret-value}"}', "encryption.key"),
        ("channels: {email: {use: channels.smtp, password: s3cret-value}}", "channels.email.password"),
        ("tasks: {service: {use: channels.zendesk_tasks, token: s3cret-value}}", "tasks.service.token"),
        (
            "channels: {sms: {use: channels.webhook, headers: {Authorization: s3cret-value}}}",
            "channels.sms.headers.Authorization",
        ),
        ("channels: {sms: {use: channels.webhook, api_key: s3cret-value}}", "channels.sms.api_key"),
        ("database: {url: postgresql://app:s3cret-value@db/app}", "database.url"),
        ('database: {url: "${DB:-postgresql://app:s3cret-value@db/app}"}', "database.url"),
    ],
)
def test_a_secret_in_the_file_is_an_error_that_does_not_repeat_it(tmp_path: Path, text: str, path: str) -> None:
    """A written out secret is refused by name and place, and its value stands nowhere in the message."""
    found = [p for p in problems(tmp_path, text) if p.code == "SJ450"]
    assert 1 == len(found)
    assert path in found[0].message
    assert 1 == found[0].line
    assert "s3cret" not in str(SettingsError(found))


def test_a_password_from_the_environment_may_stand_in_a_url(tmp_path: Path) -> None:
    """Only the secret part of a URL has to come from the environment."""
    settings = load(tmp_path, 'database: {url: "postgresql://app:${PW}@db/app"}\n', {"PW": "x"})
    assert "postgresql://app:x@db/app" == settings.database_url


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    """Printing the settings shows neither keys nor a channel's own fields."""
    text = DOCUMENTED.replace("port: 1025", 'password: "${SMTP_PASSWORD}"')
    shown = repr(load(tmp_path, text, {**KEYS, "SMTP_PASSWORD": "smtp-pass"}))
    assert [] == [s for s in ("w-1", "t-1", "smtp-pass") if s in shown]


def test_everything_wrong_comes_out_at_once_at_its_place(tmp_path: Path) -> None:
    """An unknown key, an unset variable, a bad number and a bad rate are four problems with line and column."""
    text = "proyect: x\nwrite_keys:\n  web: ${WEB_KEY}\ncohort: {max_size: 501}\nchannels:\n  sms: {use: a.b, rate: fast}\n"
    found = problems(tmp_path, text)
    assert ("SJ110", 1, 1) == (found[0].code, found[0].line, found[0].column)
    assert {1, 3, 4, 6} == {p.line for p in found}
    assert "did you mean 'project'?" == found[0].hint
    assert [("SJ250", 3, 8)] == [(p.code, p.line, p.column) for p in found if p.code == "SJ250"]


def test_two_sources_with_one_write_key_are_refused(tmp_path: Path) -> None:
    """Write keys tell sources apart, so no two are equal."""
    found = problems(tmp_path, 'write_keys: {a: "${A}", b: "${B}"}\n', {"A": "same", "B": "same"})
    assert ["SJ451"] == [p.code for p in found]


def test_an_empty_secret_is_refused(tmp_path: Path) -> None:
    """A write key or token that is empty in the environment would let everybody in."""
    assert 1 == len(problems(tmp_path, 'write_keys: {a: "${A:-}"}\n'))


@pytest.mark.parametrize("host", ["mail.example.com", "10.0.0.7", "127.0.0.1.example.com"])
def test_a_time_scale_is_refused_for_a_channel_elsewhere(tmp_path: Path, host: str) -> None:
    """Weeks of real messages never go out in minutes: every channel must be on loopback under a time scale."""
    text = f"time_scale: 600\nchannels:\n  email: {{use: channels.smtp, host: {host}}}\n"
    assert [("SJ452", 3)] == [(p.code, p.line) for p in problems(tmp_path, text)]


def test_a_time_scale_is_fine_on_this_machine(tmp_path: Path) -> None:
    """Loopback hosts, loopback URLs and folders may run under a time scale."""
    settings = load(tmp_path, DOCUMENTED.replace("time_scale: 1\n", "time_scale: 600\n"), KEYS)
    assert 600.0 == settings.time_scale
    assert {} == remote_channels(settings)


def test_references_are_filled_and_escaped(tmp_path: Path) -> None:
    """Defaults stand in for unset and empty variables, and $${ is a plain ${."""
    text = 'project: "${A:-one}-${B:-two}-${C}-$${D}"\n'
    assert "one-two-c-${D}" == load(tmp_path, text, {"A": "", "C": "c"}).project


def test_a_broken_reference_is_a_problem(tmp_path: Path) -> None:
    """A ${ that names no variable isn't passed on as text."""
    assert ["SJ251"] == [p.code for p in problems(tmp_path, 'project: "${A B}"\n')]


def test_an_environment_that_is_wrong_is_named(tmp_path: Path) -> None:
    """A malformed variable is refused with its name."""
    with pytest.raises(SettingsError, match="SOJOURN_PUBLIC_URL"):
        load_settings(tmp_path, {"SOJOURN_PUBLIC_URL": "m.example"})
    with pytest.raises(SettingsError, match="SOJOURN_TEMPORAL_ADDRESS"):
        load_settings(tmp_path, {"SOJOURN_TEMPORAL_ADDRESS": "http://x"})


def test_sources_have_rates_and_origins(tmp_path: Path) -> None:
    """A rate is per second, origins are as browsers send them; a source without settings of its own may do what is usual."""
    text = """
        write_keys: {website: "${W}", backend: "${B}"}
        sources: {website: {rate: 600/m, origins: ["https://Shop.example", "http://localhost:3000"]}}
    """
    found = load(tmp_path, textwrap.dedent(text), {"W": "w", "B": "b"}).sources
    assert (10.0, ["website"]) == (found["website"].rate, list(found))
    assert [True, True, False, False] == [
        found["website"].takes(o) for o in ("https://shop.example", "http://localhost:3000", "http://shop.example", "null")
    ]
    assert (None, True) == (SourceSettings().rate, SourceSettings().takes("https://any.example"))


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("sources: {website: {rate: fast}}", "SJ112", "a rate such as"),
        ('sources: {website: {origins: ["https://shop.example/path"]}}', "SJ112", "an origin such as"),
        ("sources: {website: {origins: [shop.example]}}", "SJ112", "an origin such as"),
        ("sources: {website: {limit: 5/s}}", "SJ110", "'limit' is not a key"),
        ("sources: {webside: {rate: 5/s}}", "SJ454", "'webside' has no write key"),
    ],
)
def test_what_is_wrong_with_a_source_is_said(tmp_path: Path, text: str, code: str, said: str) -> None:
    """Each at its place, with a name that is near."""
    found = problems(tmp_path, f'write_keys: {{website: "${{W}}"}}\n{text}\n', {"W": "w"})
    assert [(code, 2, True)] == [(p.code, p.line, said in p.message) for p in found]


def test_adapters() -> None:
    """Who takes tasks is called `tasks.QUEUE` beside the channels; our own list needs no adapter."""
    takers = {"service": {"use": "channels.zendesk_tasks", "subdomain": "shop"}, "default": {"use": "own"}}
    settings = Settings.model_validate({"channels": {"sms": {"use": "channels.noop"}}, "tasks": takers})
    assert {"sms", "tasks.service"} == set(settings.adapters())
    assert {"use": "channels.zendesk_tasks", "subdomain": "shop"} == settings.adapters()["tasks.service"]
