"""Captures and transmits through the installed library with ctypes: whole blocks, walked with the
exported functions that C inlines."""

import ctypes
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_uint8, c_uint16, c_uint32
from ctypes import c_size_t, c_uint64, c_void_p

RX = 1
FRAMES = 50


class Frame(Structure):
    _fields_ = [
        ("data", POINTER(c_uint8)), ("timestamp", c_uint64), ("caplen", c_uint32),
        ("len", c_uint32), ("status", c_uint32), ("mac", c_uint16), ("net", c_uint16),
        ("rxhash", c_uint32), ("vlan_tci", c_uint32), ("vlan_tpid", c_uint16),
        ("reserved1", c_uint16), ("reserved2", c_uint32), ("addr", c_void_p),
        ("number", c_uint64),
    ]


class Block(Structure):
    _fields_ = [
        ("base", c_void_p), ("private_area", c_void_p), ("first_timestamp", c_uint64),
        ("last_timestamp", c_uint64), ("sequence", c_uint64), ("length", c_uint32),
        ("frame_count", c_uint32), ("status", c_uint32), ("private_size", c_uint32),
        ("first_offset", c_uint32), ("size", c_uint32), ("number", c_uint64), ("slot", c_uint64),
    ]


class Iter(Structure):
    _fields_ = [("opaque", c_uint64 * 9)]


assert ctypes.sizeof(Frame) == 64

lib = ctypes.CDLL("libpktring.so.0", use_errno=True)
lib.pktring_open_capture.restype = c_void_p
lib.pktring_open_capture.argtypes = [c_char_p, c_uint32, c_int, c_char_p]
lib.pktring_open_transmit.restype = c_void_p
lib.pktring_open_transmit.argtypes = [c_char_p, c_char_p]
lib.pktring_geterr.restype = c_char_p
lib.pktring_geterr.argtypes = [c_void_p]
lib.pktring_wait.argtypes = [c_void_p, c_uint32, c_int]
lib.pktring_inject.argtypes = [c_void_p, c_char_p, c_size_t]
lib.pktring_next_block.argtypes = [c_void_p, POINTER(Block)]
lib.pktring_release_block.argtypes = [c_void_p, POINTER(Block)]
lib.pktring_iter_init.argtypes = [POINTER(Iter), POINTER(Block)]
lib.pktring_iter_init.restype = None
lib.pktring_iter_next.argtypes = [POINTER(Iter), POINTER(Frame)]
lib.pktring_frame_part.restype = c_void_p
lib.pktring_frame_part.argtypes = [POINTER(Frame), c_uint32, c_uint32]
lib.pktring_frame_vlan.argtypes = [POINTER(Frame)]
lib.pktring_close.argtypes = [c_void_p]

text = ctypes.create_string_buffer(256)
rx = lib.pktring_open_capture(b"vb", 0, 0, text)
assert rx, text.value
tx = lib.pktring_open_transmit(b"va", text)
assert tx, text.value

sent = [bytes.fromhex("ffffffffffff02000000000188b5") + bytes([n]) * (46 + n) for n in range(FRAMES)]
for frame in sent:
    result = lib.pktring_inject(tx, frame, len(frame))
    assert result == len(frame), (result, lib.pktring_geterr(tx))

got = []
block, walk, frame = Block(), Iter(), Frame()
while len(got) < FRAMES:
    events = lib.pktring_wait(rx, RX, 3000)
    assert events == RX, (events, lib.pktring_geterr(rx))
    while lib.pktring_next_block(rx, byref(block)) == 1:
        lib.pktring_iter_init(byref(walk), byref(block))
        while lib.pktring_iter_next(byref(walk), byref(frame)) == 1:
            data = ctypes.string_at(lib.pktring_frame_part(byref(frame), 0, frame.caplen), frame.caplen)
            if data[12:14] == b"\x88\xb5":
                got.append(data)
            assert lib.pktring_frame_vlan(byref(frame)) == -1
        assert lib.pktring_release_block(rx, byref(block)) == 0
assert got == sent
lib.pktring_close(tx)
lib.pktring_close(rx)
