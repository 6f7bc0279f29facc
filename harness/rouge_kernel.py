"""The counting of ``rouge.py`` compiled by numba, for many pairs or long texts. It changes no figure.

Texts or tokens go in as one array of code points, so that no Python object is touched: a token is a
stretch of it. Equal tokens of a pair are found with a table of hashes, but only their code points decide
that they are equal. What is counted, and how, is the same as in ``rouge.py``: for every predicted token the
bits of the reference tokens equal to it, from which ROUGE-N and the LCS follow by shifts and sums. Here the
bits stand in words of 64.

Importing this module costs .2 s; compiling it takes some 5 s once on a machine, after which numba's cache is
read (.2 s).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numba
import numpy as np
from numpy.typing import NDArray

CodePoints = NDArray[np.uint32]
Ends = NDArray[np.int64]
Words = NDArray[np.uint64]

_ONE, _ZERO, _ALL = np.uint64(1), np.uint64(0), np.uint64(0xFFFFFFFFFFFFFFFF)
_FNV_OFFSET, _FNV_PRIME = np.uint64(14695981039346656037), np.uint64(1099511628211)
_SMALLEST_TABLE = 64

_CHARACTERS = 200_000
"""Characters of either side that are counted at a time: the working arrays stay in the processor's cache."""


def count_words(predictions: Sequence[str], references: Sequence[str], highest_n: int) -> NDArray[np.int64]:
    """Matches between texts whose tokens are their words, as ``str.split`` finds them.

    Returns:
        int64 [pairs, 2 + highest_n + 1]: predicted tokens, reference tokens, n-grams in common for n = 1 …
        ``highest_n``, and the length of the longest common subsequence.
    """
    counts = np.empty((len(predictions), highest_n + 3), dtype=np.int64)
    for rows in _portions(len(predictions), sum(map(len, predictions)) + sum(map(len, references))):
        first, second = predictions[rows], references[rows]
        no_ends = np.empty(0, dtype=np.int64)
        _count(*_read(first), no_ends, *_read(second), no_ends, highest_n, counts[rows])
    return counts


def count_tokens(
    predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]], highest_n: int
) -> NDArray[np.int64]:
    """As ``count_words``, from lists of tokens: strings, or whole numbers from 0 to 2**32 - 1.

    Raises:
        TypeError: there are other tokens.
    """
    counts = np.empty((len(predictions), highest_n + 3), dtype=np.int64)
    for rows in _portions(len(predictions), 4 * (sum(map(len, predictions)) + sum(map(len, references)))):
        _count(*_read_tokens(predictions[rows]), *_read_tokens(references[rows]), highest_n, counts[rows])
    return counts


def _portions(rows: int, characters: int) -> list[slice]:
    """All rows, in portions of some ``_CHARACTERS`` where all of them together have ``characters``."""
    size = max(1, rows * _CHARACTERS // max(1, characters))
    return [slice(begin, begin + size) for begin in range(0, rows, size)]


def _read(texts: Sequence[str]) -> tuple[CodePoints, Ends]:
    # "surrogatepass" keeps lone surrogates apart, as Python's own comparison does.
    characters = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    return characters, np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))


def _read_tokens(documents: Sequence[Sequence[str]]) -> tuple[CodePoints, Ends, Ends]:
    ends = np.cumsum(np.fromiter(map(len, documents), np.int64, len(documents)))
    flat = list(chain.from_iterable(documents))
    if flat and not isinstance(flat[0], str):
        return _as_code_points(flat), ends, np.arange(1, len(flat) + 1)
    characters, token_ends = _read(flat)
    return characters, ends, token_ends


def _as_code_points(ids: Sequence[int]) -> CodePoints:
    """Token ids, each as a code point of its own."""
    try:
        numbers = np.array(ids)
    except (ValueError, OverflowError):  # lists of different lengths, numbers too large
        numbers = np.empty(0)
    if numbers.dtype.kind not in "iu" or numbers.ndim > 1 or numbers.min() < 0 or numbers.max() >= 2**32:
        raise TypeError("tokens are strings, or whole numbers from 0 to 2**32 - 1")
    return numbers.astype(np.uint32)


# --- compiled -----------------------------------------------------------------------------------------


@numba.njit(cache=True, inline="always")
def _is_space(code):
    """Whether ``str.split`` separates words at this code point."""
    if code <= 32:
        return code == 32 or 9 <= code <= 13 or 28 <= code <= 31
    if code < 0x85 or code > 0x3000:  # every Hangul syllable leaves here
        return False
    return code in (0x85, 0xA0, 0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000) or 0x2000 <= code <= 0x200A


@numba.njit(cache=True)
def _split(text, begin, end, begins, ends, hashes):
    """Write down where each word of ``text[begin:end]`` begins and ends, and its hash; how many they are."""
    count, at = 0, begin
    while at < end:
        code = text[at]
        if not _is_space(code):
            begins[count] = at
            value = _FNV_OFFSET
            while True:
                value = (value ^ np.uint64(code)) * _FNV_PRIME
                at += 1
                if at == end:
                    break
                code = text[at]
                if _is_space(code):
                    break
            ends[count] = at
            hashes[count] = value ^ (value >> np.uint64(32))
            count += 1
        at += 1
    return count


@numba.njit(cache=True)
def _take(text, begin, token_ends, begins, ends, hashes):
    """As ``_split``, for tokens whose ends are known; ``begin`` is where the first one begins."""
    for index in range(token_ends.size):
        value = _FNV_OFFSET
        for at in range(begin, token_ends[index]):
            value = (value ^ np.uint64(text[at])) * _FNV_PRIME
        begins[index], ends[index] = begin, token_ends[index]
        hashes[index] = value ^ (value >> np.uint64(32))
        begin = token_ends[index]
    return token_ends.size


@numba.njit(cache=True)
def _find(text, begin, end, value, known, begins, ends, hashes, table, mask):
    """The number of the token equal to ``text[begin:end]`` among those in ``table``, or where it would go.

    The numbers index ``begins``, ``ends`` and ``hashes``, which point into ``known``. A token that is not
    there gives -1 - slot.
    """
    slot = value & mask
    length = end - begin
    while True:
        token = table[slot]
        if token < 0:
            return -1 - np.int64(slot)
        if hashes[token] == value and ends[token] - begins[token] == length:
            first, same = begins[token], 0
            while same < length and known[first + same] == text[begin + same]:
                same += 1
            if same == length:
                return np.int64(token)
        slot = (slot + _ONE) & mask


@numba.njit(cache=True, inline="always")
def _ones(word):
    """How many bits of ``word`` are 1."""
    word = word - ((word >> _ONE) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@numba.njit(cache=True)
def _longest(ends):
    """The longest of the stretches that end at ``ends``."""
    longest, begin = 0, 0
    for end in ends:
        longest = max(longest, end - begin)
        begin = end
    return longest


@numba.njit(cache=True)
def _index(text, count, begins, ends, hashes, table, mask, masks):
    """Enter the ``count`` tokens of a reference into ``table``, and the bits of each into ``masks``.

    The distinct tokens are moved to the front of ``begins``, ``ends`` and ``hashes``.
    """
    words = (count + 63) >> 6
    distinct = 0
    for index in range(count):
        value = hashes[index]
        token = _find(text, begins[index], ends[index], value, text, begins, ends, hashes, table, mask)
        if token < 0:
            table[-1 - token] = distinct
            token = distinct
            begins[token], ends[token], hashes[token] = begins[index], ends[index], value
            masks[token * words : (token + 1) * words] = _ZERO
            distinct += 1
        masks[token * words + (index >> 6)] |= _ONE << np.uint64(index & 63)


@numba.njit(cache=True)
def _match(masks, tokens, predicted, count, highest_n, row, free, ends, matches):
    """Count n-grams in common and the LCS, from the predicted tokens' numbers (negative: not there).

    ``row``, ``free`` and ``ends`` are working space, of 1, ``highest_n`` and ``highest_n`` times the words
    that ``count`` bits take.
    """
    words = (count + 63) >> 6
    row[:words] = _ALL
    free[: highest_n * words] = _ALL
    ends[: highest_n * words] = _ZERO
    matches[:] = 0
    running = False  # whether any bit of ``ends`` is set
    for index in range(predicted):
        if tokens[index] < 0:
            if running:
                ends[: highest_n * words] = _ZERO
                running = False
            continue
        running = True
        start = tokens[index] * words
        _extend(masks, start, row, words)
        for size in range(highest_n - 1, -1, -1):
            matches[size] += _take_lowest(masks, start, size, words, free, ends)
    for word in range(words):
        zeros = ~row[word]
        if word == words - 1 and count & 63:
            zeros &= (_ONE << np.uint64(count & 63)) - _ONE
        matches[highest_n] += _ones(zeros)


@numba.njit(cache=True, inline="always")
def _extend(masks, start, row, words):
    """One step of Hyyro's LCS: ``row + (row & mask) | row & ~mask``, with carries between words."""
    carry = _ZERO
    for word in range(words):
        before = row[word]
        matched = before & masks[start + word]
        total = before + matched
        carried = total + carry
        carry = np.uint64(total < before) | np.uint64(carried < total)
        row[word] = carried | (before - matched)


@numba.njit(cache=True, inline="always")
def _take_lowest(masks, start, size, words, free, ends):
    """Find where n-grams of ``size + 1`` tokens end now, and use up the first free one; 1 if there is one."""
    taken = 0
    shifted_in = _ZERO
    for word in range(words):
        found = masks[start + word]
        if size:
            before = ends[(size - 1) * words + word]
            found &= (before << _ONE) | shifted_in
            shifted_in = before >> np.uint64(63)
        ends[size * words + word] = found
        if not taken:
            usable = free[size * words + word] & found
            if usable:
                free[size * words + word] ^= usable & (~usable + _ONE)
                taken = 1
    return taken


@numba.njit(cache=True)
def _count(text, ends, token_ends, other_text, other_ends, other_token_ends, highest_n, counts):
    """Fill ``counts`` for every pair of a prediction (``text``) and a reference (``other_text``)."""
    room, other_room = _room(ends, token_ends), _room(other_ends, other_token_ends)
    begins, stops = np.empty(room, np.int64), np.empty(room, np.int64)
    hashes, tokens = np.empty(room, np.uint64), np.empty(room, np.int64)
    other_begins, other_stops = np.empty(other_room, np.int64), np.empty(other_room, np.int64)
    other_hashes = np.empty(other_room, np.uint64)
    words = (other_room + 63) >> 6
    row, free, running = (
        np.empty(words, np.uint64),
        np.empty(highest_n * words, np.uint64),
        np.empty(highest_n * words, np.uint64),
    )
    table = np.empty(_table_size(other_room), np.int32)
    masks = np.empty(_SMALLEST_TABLE, np.uint64)
    for pair in range(ends.size):
        predicted = _tokens(text, ends, token_ends, pair, begins, stops, hashes)
        referenced = _tokens(
            other_text, other_ends, other_token_ends, pair, other_begins, other_stops, other_hashes
        )
        counts[pair, 0], counts[pair, 1] = predicted, referenced
        size = _table_size(referenced)
        table[:size] = -1
        mask = np.uint64(size - 1)
        needed = referenced * ((referenced + 63) >> 6)
        if masks.size < needed:
            masks = np.empty(needed, np.uint64)
        _index(other_text, referenced, other_begins, other_stops, other_hashes, table, mask, masks)
        for index in range(predicted):
            tokens[index] = _find(
                text, begins[index], stops[index], hashes[index], other_text,
                other_begins, other_stops, other_hashes, table, mask,
            )  # fmt: skip
        _match(masks, tokens, predicted, referenced, highest_n, row, free, running, counts[pair, 2:])


@numba.njit(cache=True)
def _tokens(text, ends, token_ends, pair, begins, stops, hashes):
    """Where the tokens of one text lie, and their hashes; how many they are."""
    begin = ends[pair - 1] if pair else 0
    if token_ends.size == 0:
        return _split(text, begin, ends[pair], begins, stops, hashes)
    first = token_ends[begin - 1] if begin else 0
    return _take(text, first, token_ends[begin : ends[pair]], begins, stops, hashes)


@numba.njit(cache=True)
def _room(ends, token_ends):
    """The most tokens that one text can have: given, or every other character."""
    longest = _longest(ends)
    return (longest if token_ends.size else longest // 2) + 1


@numba.njit(cache=True)
def _table_size(tokens):
    """A power of two that leaves the table of so many tokens at least half empty."""
    size = _SMALLEST_TABLE
    while size < 2 * tokens:
        size *= 2
    return size
