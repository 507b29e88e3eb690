from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fluxperf_mock.http2_frames import PREFACE, FrameCutter

KINDS = st.binary(min_size=6, max_size=6)
FRAME = st.builds(lambda kind, load: len(load).to_bytes(3, "big") + kind + load, KINDS, st.binary(max_size=40))


@given(st.lists(FRAME, max_size=8), st.data())
def test_frames_come_out_whole_however_they_came_in(frames: list[bytes], data: st.DataObject) -> None:
    stream = PREFACE + b"".join(frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    cutter = FrameCutter()
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [out for piece in pieces for out in cutter.feed(piece)] == [PREFACE, *frames]


def test_a_frame_is_given_with_its_last_byte_and_no_sooner() -> None:
    cutter = FrameCutter()
    frame = b"\0\0\3" + b"k" * 6 + b"abc"
    assert list(cutter.feed(PREFACE + frame[:-1])) == [PREFACE]
    assert list(cutter.feed(frame[-1:])) == [frame]
