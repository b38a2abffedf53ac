"""Header blocks of HTTP/2 whose fields are counted before they are decoded."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio.transport.header_blocks import MOST_ENTRIES, changes_table, encoded, is_costly
from sansio.transport.heads import LARGEST_LIST, MOST_FIELDS

texts = st.binary(max_size=20) | st.sampled_from([b"GET", b":method", b"x" * 200, b"y" * 4000])
fields = st.builds(hpack.HeaderTuple, texts, texts) | st.builds(hpack.NeverIndexedHeaderTuple, texts, texts)


@given(st.lists(fields, min_size=1, max_size=5), st.booleans(), st.booleans())
def test_every_encoding_of_a_field_counts_as_one(
    found: list[hpack.HeaderTuple], huffman: bool, resized: bool
) -> None:
    encoder = hpack.Encoder()
    if resized:
        encoder.header_table_size = 2000
    block = b""
    for count in range(MOST_ENTRIES + 2):
        if len(block) > LARGEST_LIST:
            break
        assert is_costly(block) is (count + (resized and count > 0) > MOST_ENTRIES)
        block += encoder.encode([found[count % len(found)]], huffman=huffman)


@pytest.mark.parametrize(
    "entry", [b"\x82", b"\x20", b"\x3f\xe1\x1f", b"\x41\x01a", b"\x00\x01a\x01b", b"\x1f\x00\x00"]
)
def test_a_block_has_so_many_entries_at_most(entry: bytes) -> None:
    assert not is_costly(entry * MOST_ENTRIES)
    assert is_costly(entry * (MOST_ENTRIES + 1))


def test_every_request_that_is_answered_for_its_fields_can_be_decoded() -> None:
    pseudo = [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"a"), (b":path", b"/")]
    encoded = hpack.Encoder().encode([*pseudo, *[(b"x", b"y")] * (MOST_FIELDS + 1)])

    assert not is_costly(encoded)


@pytest.mark.parametrize(
    "start", [b"", b"\x00", b"\x00\x7f", b"\x00\x7f\xff", b"\xff" * 100, b"\x40\x7f\xff\xff\x7f"]
)
def test_a_block_that_is_cut_off_is_left_to_the_decoder(start: bytes) -> None:
    assert not is_costly(start)


def test_a_block_that_is_too_long_is_costly() -> None:
    assert not is_costly(b"\x00\x00\x7f\xff\xff\x7f" + b"a" * (LARGEST_LIST - 6))
    assert is_costly(b"\x00\x00\x7f\xff\xff\x7f" + b"a" * (LARGEST_LIST - 5))


@given(st.binary(max_size=400))
def test_a_block_that_passes_decodes_to_no_more_fields(block: bytes) -> None:
    if is_costly(block):
        return
    try:
        decoded = hpack.Decoder().decode(block, raw=True)
    except hpack.HPACKError:
        return
    assert len(list(decoded)) <= MOST_ENTRIES


names = st.binary(max_size=300) | st.sampled_from([b":status", b"x" * 127, b"y" * 20_000])
values = st.binary(max_size=300) | st.sampled_from([b"200", b"404", b"418", b"z" * 126, b"z" * 127, b"z" * 20_000])


@given(st.lists(st.tuples(names, values), max_size=6))
def test_what_is_encoded_is_what_is_decoded_and_leaves_the_table_as_it_is(
    pairs: list[tuple[bytes, bytes]],
) -> None:
    block = encoded(pairs)
    decoder = hpack.Decoder(max_header_list_size=1_000_000)

    assert [(name, value) for name, value in decoder.decode(block, raw=True)] == pairs
    assert not changes_table(block)
    assert len(decoder.header_table.dynamic_entries) == 0


@given(st.lists(fields, max_size=5), st.booleans(), st.booleans())
def test_a_block_changes_the_table_or_it_can_be_decoded_again(
    found: list[hpack.HeaderTuple], huffman: bool, resized: bool
) -> None:
    encoder, decoder = hpack.Encoder(), hpack.Decoder(max_header_list_size=1_000_000)
    if resized:
        encoder.header_table_size = 2000
    block = encoder.encode(found, huffman=huffman)
    before = list(decoder.header_table.dynamic_entries)
    decoder.decode(block, raw=True)

    changed = resized or list(decoder.header_table.dynamic_entries) != before
    assert changes_table(block) or not changed
