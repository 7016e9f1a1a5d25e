"""The payload codec: what a Temporal server sees of us, and what a change of keys leaves readable."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from google.protobuf.message import Message
from pydantic import SecretStr
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure

from engine.app.wiring import open_worker
from engine.settings.project import EncryptionSettings, Settings
from engine.temporal.client import converter
from engine.temporal.codec import ENCODING, AesGcmCodec, CodecError, parse_keys
from tests.harness import running, write_project

JOURNEY = """
journey: secret
tier: lifecycle
enter: {event: signed_up, again: never}
exit: [{event: cancelled}]
steps:
  - send: email
    id: hello
    template: hello
    topic: news
  - wait_for: confirmed
    id: confirm
    timeout: 30d
"""


def key() -> str:
    """A fresh key as the settings take it."""
    return base64.b64encode(os.urandom(32)).decode()


PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'{"member": 7}')


async def test_a_payload_comes_back_as_it_was() -> None:
    """Encrypted and decrypted a payload is the same, metadata included; neither its data nor its encoding shows meanwhile."""
    codec = AesGcmCodec(parse_keys(key()))
    (hidden,) = await codec.encode([PLAIN])
    assert {"encoding": ENCODING, "key": b"1"} == dict(hidden.metadata)
    assert b"member" not in hidden.SerializeToString()
    assert [PLAIN] == await codec.decode([hidden])


async def test_what_a_failure_says_is_encrypted_too() -> None:
    """The text and the trace of an activity's failure don't stand in a history that is encrypted; with the key they do."""
    hiding = converter(key())
    failure = Failure()
    await hiding.encode_failure(ValueError("ada@example.com"), failure)
    assert b"ada@example.com" not in failure.SerializeToString()
    assert "ada@example.com" in str(await hiding.decode_failure(failure))


async def test_the_same_payload_never_looks_the_same() -> None:
    """Two encryptions of one payload differ."""
    codec = AesGcmCodec(parse_keys(key()))
    one, other = await codec.encode([PLAIN, PLAIN])
    assert one.data != other.data


async def test_after_a_change_of_keys_old_payloads_stay_readable() -> None:
    """The first key writes, the others read: what the old key wrote opens, and new payloads name the new key."""
    old, new = f"old:{key()}", f"new:{key()}"
    (before,) = await AesGcmCodec(parse_keys(old)).encode([PLAIN])
    both = AesGcmCodec(parse_keys(f"{new},{old}"))
    (after,) = await both.encode([PLAIN])
    assert b"new" == after.metadata["key"]
    assert [PLAIN, PLAIN] == await both.decode([before, after])


async def test_a_key_that_is_missing_or_was_changed_is_named() -> None:
    """Without the key, or with another one under its id, the error names the id and what to set."""
    (hidden,) = await AesGcmCodec(parse_keys(f"a:{key()}")).encode([PLAIN])
    with pytest.raises(CodecError, match="under key 'a': add that key to SOJOURN_ENCRYPTION_KEY"):
        await AesGcmCodec(parse_keys(f"b:{key()}")).decode([hidden])
    with pytest.raises(CodecError, match="does not open with key 'a'"):
        await AesGcmCodec(parse_keys(f"a:{key()}")).decode([hidden])


async def test_what_was_never_encrypted_passes() -> None:
    """Payloads from before encryption was switched on are read as they are."""
    assert [PLAIN] == await AesGcmCodec(parse_keys(key())).decode([PLAIN])


@pytest.mark.parametrize(("text", "match"), [("nonsense!", "not base64"), (base64.b64encode(b"short").decode(), "has 5 bytes")])
def test_what_is_no_key_is_refused(text: str, match: str) -> None:
    """A key that isn't 32 bytes of base64 is refused with how to make one."""
    with pytest.raises(CodecError, match=match):
        parse_keys(text)


def test_two_keys_of_one_id_are_refused() -> None:
    """A payload names its key by id alone, so two keys without one can't be told apart: the error says what to write. Naming the
    new one is enough, and the same key twice is one."""
    old, new = key(), key()
    for text in (f"{new},{old}", f"1:{new},{old}", f"a:{new},b:{old},a:{old}"):
        with pytest.raises(CodecError, match=r"two encryption keys have the id '[1a]'.*write the new key as `id:key`"):
            parse_keys(text)
    assert ["2026b", "1"] == [name for name, _ in parse_keys(f"2026b:{new},{old}")]
    assert parse_keys(old) == parse_keys(f"{old},1:{old}")


async def test_a_worker_with_two_keys_of_one_id_does_not_start(database_url: str, temporal_address: str) -> None:
    """Also where one of them stands under `previous`."""
    encryption = EncryptionSettings(key=SecretStr(key()), previous=[SecretStr(key())])
    with pytest.raises(CodecError, match="two encryption keys"):
        async with open_worker(Settings(encryption=encryption), database_url, temporal_address, channels={}):
            raise AssertionError("it started")


async def test_no_payload_in_temporals_history_is_readable(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """With a key set every payload of a cohort's history is encrypted, and the journey runs as ever."""
    folder = write_project(tmp_path, {"journeys/secret.yaml": JOURNEY})
    encryption = EncryptionSettings(key=SecretStr(key()))
    async with running(folder, database_url, temporal_address, task_queue_prefix, encryption=encryption) as sojourn:
        grace = await sojourn.identify("grace")
        await sojourn.track("grace", "signed_up")
        await sojourn.waiting_in("confirm")
        assert 1 == len(sojourn.email.to(grace))
        (cohort,) = await sojourn.query("select id, plan from cohorts")
        journeys = sojourn.worker.relay.journeys
        history = await journeys.client.get_workflow_handle(journeys.cohort_id(cohort.id)).fetch_history()
        payloads = list(_payloads(history.events))
        assert len(payloads) > 5
        assert {ENCODING} == {p.metadata["encoding"] for p in payloads}
        raw = b"".join(event.SerializeToString() for event in history.events)
        assert b"grace" not in raw.lower()
        assert cohort.plan.encode() not in raw, "the plan's hash is in a payload only"
        await sojourn.track("grace", "confirmed")
        await sojourn.settled()


def _payloads(messages: Iterable[Message]) -> Iterator[Payload]:
    """Every payload in these protobuf messages, however deep."""
    for message in messages:
        if isinstance(message, Payload):
            yield message
            continue
        for field, value in message.ListFields():
            if field.message_type is None:
                continue
            if field.message_type.GetOptions().map_entry:
                yield from _payloads(v for v in value.values() if isinstance(v, Message))
            else:
                yield from _payloads([value] if isinstance(value, Message) else value)
