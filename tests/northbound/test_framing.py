"""Messages come out of a stream whole, wherever it was torn."""

import itertools
import json
import socket

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovnk.northbound.framing import Framer, Poll

texts = st.text(max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
messages = st.lists(st.dictionaries(texts, values, max_size=3), max_size=3)


def torn(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(places)]


@given(messages, st.lists(st.integers(0, 10_000), max_size=5), st.booleans(), st.sampled_from(["", "\n", " \r\n"]))
def test_any_messages_torn_anywhere_come_out_as_they_went_in(given_messages, cuts, ascii_only, between):
    stream = between.join(json.dumps(message, ensure_ascii=ascii_only) for message in given_messages)
    framer = Framer()
    received = [
        message for piece in torn(stream.encode(errors="surrogatepass"), cuts) for message in framer.feed(piece)
    ]
    assert received == given_messages


@given(messages)
def test_byte_by_byte(given_messages):
    framer = Framer()
    stream = b"".join(map(orjson.dumps, given_messages))
    assert [message for byte in stream for message in framer.feed(bytes([byte]))] == given_messages


def test_a_message_waits_for_its_second_half():
    framer = Framer()
    assert framer.feed(b'{"id":1}{"id":') == []
    assert framer.feed(b"2}") == [{"id": 1}, {"id": 2}]


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request\r\n", b"[1]", b'{"a":"\xff"}'])
def test_what_is_no_message_is_refused(garbage):
    with pytest.raises(ValueError, match=r"not an OVSDB message|utf-8"):
        Framer().feed(garbage)


def test_a_descriptor_registered_twice_waits_for_both_events():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        poll = Poll()
        poll.register(ours, 0x004)
        poll.register(ours.fileno(), 0x001)
        theirs.send(b"x")
        assert poll.poll(1000) == [(ours.fileno(), 0x005)]
