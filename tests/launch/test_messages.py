from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fluxperf.launch.messages import GO, READY, REPORT, ROUND, STOP, UNREACHABLE, Message, Unpacker, pack

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
messages = st.builds(Message, st.sampled_from([ROUND, GO, STOP, READY, UNREACHABLE, REPORT]), values)


def unpack(*chunks: bytes) -> list[Message]:
    unpacker = Unpacker()
    return [message for chunk in chunks for message in unpacker.feed(chunk)]


@given(st.lists(messages, max_size=3))
def test_messages_come_out_as_they_went_in_wherever_they_are_split(sent: list[Message]) -> None:
    data = b"".join(map(pack, sent))
    for place in range(len(data) + 1):
        assert unpack(data[:place], data[place:]) == sent
    assert unpack(*(data[place : place + 1] for place in range(len(data)))) == sent


def test_a_message_comes_out_as_soon_as_it_is_complete() -> None:
    data = pack(Message(GO, 7))
    unpacker = Unpacker()
    assert list(unpacker.feed(data[:-1])) == []
    assert list(unpacker.feed(data[-1:] + data[:3])) == [Message(GO, 7)]
    assert list(unpacker.feed(data[3:])) == [Message(GO, 7)]


def test_a_report_is_larger_than_one_read() -> None:
    value: Any = b"\x00" * 3_000_000
    data = pack(Message(REPORT, value))
    assert unpack(*(data[place : place + 65_536] for place in range(0, len(data), 65_536))) == [Message(REPORT, value)]
