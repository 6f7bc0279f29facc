"""Attention of one step of decoding, compiled by numba: see ``baselines.compiled_cache``.

Rows read far more keys and values than a processor's cache holds, each of them once. They are fetched ahead,
and past the caches, where the model's weights should stay for the next step.
"""

from __future__ import annotations

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

# Sums may be taken in any order, so that they are vectorised. Infinities and NaN stay what they are.
_FAST = {"reassoc", "contract", "arcp", "nsz"}

_LINE = 16
"""Numbers in a line of the cache, of 64 bytes."""

_AHEAD = 8
"""Places ahead of the one that is used at which keys and values are fetched."""


@intrinsic
def _fetch(typing_context, array, number):
    """Begin to fetch number ``number`` of ``array``, counted through all its dimensions; it may lie outside.

    LLVM's ``llvm.prefetch`` for reading, with no locality: what is fetched is used once (``prefetchnta``).
    """

    def write(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        integer = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [address.type, integer, integer, integer])
        function = builder.module.declare_intrinsic("llvm.prefetch", [address.type], kind)
        to_read, no_locality, data_cache = integer(0), integer(0), integer(1)
        builder.call(function, [address, to_read, no_locality, data_cache])
        return context.get_dummy_value()

    return types.void(array, types.intp), write


@numba.njit(cache=True, nogil=True)
def attend_once(
    qkv, turns, slots, starts, lengths, written, keys, values, own_keys, own_values, out, first, threads
):  # fmt: skip
    """What rows see after each has written one more token, which is put into its own keys and values first.

    ``qkv`` is [B, R, 3, heads, size], of which queries and keys are turned where they stand, ``turns``
    [B, half, 2], ``slots`` [B], ``starts``, ``lengths`` and ``written`` [slots], ``out`` [B, R, heads, size].

    Every one of ``threads``, beginning with its own ``first``, takes a prompt in turn: the longest come first.
    """
    for prompt in range(first, len(qkv), threads):
        slot = slots[prompt]
        _write(qkv[prompt], turns[prompt], own_keys[slot], own_values[slot], written[slot])
        _look(
            qkv[prompt], keys[starts[slot] :], values[starts[slot] :], lengths[slot],
            own_keys[slot], own_values[slot], written[slot] + 1, out[prompt],
        )  # fmt: skip


@numba.njit(cache=True, fastmath=_FAST)
def _write(qkv, turns, own_keys, own_values, place):
    """Turn the pairs of queries and keys of ``qkv`` [R, 3, heads, size]; put keys and values to ``place``."""
    rows, _, heads, size = qkv.shape
    for row in range(rows):
        for which in range(2):
            for head in range(heads):
                for pair in range(len(turns)):
                    cosine, sine = turns[pair, 0], turns[pair, 1]
                    first, second = qkv[row, which, head, 2 * pair], qkv[row, which, head, 2 * pair + 1]
                    qkv[row, which, head, 2 * pair] = first * cosine - second * sine
                    qkv[row, which, head, 2 * pair + 1] = first * sine + second * cosine
        for head in range(heads):
            for at in range(size):
                own_keys[row, place, head, at] = qkv[row, 1, head, at]
                own_values[row, place, head, at] = qkv[row, 2, head, at]


@numba.njit(cache=True, fastmath=_FAST)
def _look(qkv, keys, values, length, own_keys, own_values, own, out):
    """Attention of the rows of one prompt: ``length`` keys and values of its own, ``own`` of each row."""
    rows, _, heads, size = qkv.shape
    scores, scale = np.empty((rows, heads, length + own), np.float32), np.float32(size**-0.5)
    shifts = np.empty(length + own, np.int32)
    for place in range(length):
        for number in range(0, heads * size, _LINE):
            _fetch(keys, (place + _AHEAD) * heads * size + number)
        for row in range(rows):
            for head in range(heads):
                scores[row, head, place] = _product(qkv, row, head, keys, place) * scale
    for row in range(rows):
        for place in range(own):
            for head in range(heads):
                score = _product(qkv, row, head, own_keys[row], place)
                scores[row, head, length + place] = score * scale
        for head in range(heads):
            _softmax(scores[row, head], shifts)
            out[row, head] = 0
        for place in range(own):
            for head in range(heads):
                share = scores[row, head, length + place]
                for at in range(size):
                    out[row, head, at] += share * own_values[row, place, head, at]
    for place in range(length):
        for number in range(0, heads * size, _LINE):
            _fetch(values, (place + _AHEAD) * heads * size + number)
        for row in range(rows):
            for head in range(heads):
                share = scores[row, head, place]
                for at in range(size):
                    out[row, head, at] += share * values[place, head, at]


@numba.njit(cache=True, fastmath=_FAST)
def _product(qkv, row, head, keys, place):
    """The query of ``row`` and ``head`` times the key at ``place``."""
    total = np.float32(0)
    for at in range(qkv.shape[3]):
        total += qkv[row, 0, head, at] * keys[place, head, at]
    return total


@numba.njit(cache=True, fastmath=_FAST)
def _softmax(scores, shifts):
    """``scores`` float32 [n] become shares of one; ``shifts`` int32 [n or more] is room to work in."""
    best = scores[0]
    for score in scores:
        best = max(best, score)
    exponentials(scores, best, shifts)
    total = np.float32(0)
    for score in scores:
        total += score
    for place in range(len(scores)):
        scores[place] /= total


_LOG2_E = np.float32(1.44269504088896341)
_LOG_2, _REST_OF_LOG_2 = np.float32(0.693359375), np.float32(-2.12194440e-4)
_P0, _P1, _P2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
_P3, _P4, _P5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
_HALF, _ONE = np.float32(0.5), np.float32(1)
_LEAST = np.float32(-86)  # e^-86 is almost the least normal number


@numba.njit(cache=True, fastmath={"contract"})
def exponentials(x, best, shifts):
    """``x`` float32 [n], none of it above ``best``, becomes e^(x - best), at least e^-86, in the same place.

    e^x is 2^n e^r with a whole number n and abs(r) <= log(2) / 2; e^r is the polynomial of Cephes' ``expf``
    (Moshier), with log(2) in two parts. numpy's exponential is called for one number at a time; this is
    vectorised. ``shifts`` int32 [n or more] is room to work in.
    """
    for place in range(len(x)):
        power_of_e = x[place] - best
        power_of_e = _LEAST if power_of_e < _LEAST else power_of_e
        n = np.floor(power_of_e * _LOG2_E + _HALF)
        r = power_of_e - n * _LOG_2 - n * _REST_OF_LOG_2
        polynomial = ((((_P0 * r + _P1) * r + _P2) * r + _P3) * r + _P4) * r + _P5
        x[place] = polynomial * r * r + r + _ONE
        shifts[place] = np.int32(n) << np.int32(23)
    bits = x.view(np.int32)
    for place in range(len(x)):  # n is added to the exponent, which begins at bit 23
        bits[place] += shifts[place]
