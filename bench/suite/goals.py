"""What this library set out to reach: ratios (ours over peer) and a few absolute limits."""

# (what, key in "ratios", at most)
RATIOS = [
    ("drain 64 B, next_frame vs pcap_dispatch", "drain/64/next_frame/pcap_dispatch", 0.65),
    ("drain IMIX, next_frame vs pcap_dispatch", "drain/imix/next_frame/pcap_dispatch", 0.30),
    ("drain 1514 B, next_frame vs pcap_dispatch", "drain/1514/next_frame/pcap_dispatch", 0.80),
    ("drain 64 B, next_frame vs hand-written V3", "drain/64/next_frame/hand_v3", 0.85),
    ("drain IMIX, next_frame vs hand-written V3", "drain/imix/next_frame/hand_v3", 0.35),
    ("drain 1514 B, next_frame vs hand-written V3", "drain/1514/next_frame/hand_v3", 1.00),
    ("drain 64 B, next_frame vs netring batch", "drain/64/next_frame/netring_batch", 0.80),
    ("drain IMIX, next_frame vs netring batch", "drain/imix/next_frame/netring_batch", 0.36),
    ("drain 64 B, next_frame vs gopacket", "drain/64/next_frame/gopacket", 0.35),
    ("drain IMIX, next_frame vs gopacket", "drain/imix/next_frame/gopacket", 0.23),
    ("receiver CPU 64 B, defaults, vs pcap_dispatch", "receive/64/next_frame/pcap_dispatch", 0.25),
    ("receiver CPU IMIX, defaults, vs pcap_dispatch", "receive/imix/next_frame/pcap_dispatch", 0.45),
    ("V2, fitted slots and naps, vs V2 with poll", "receive/64/next_frame_v2_nap/hand_v2", 0.35),
    ("latency p50 vs libpcap immediate", "latency/p50/next_frame_latency/pcap_immediate", 1.00),
    ("latency CPU vs libpcap immediate", "latency/cpu/next_frame_latency/pcap_immediate", 0.50),
    ("latency p50 with spin vs libpcap immediate",
     "latency/p50/next_frame_latency@spin=5000/pcap_immediate", 0.25),
    ("latency CPU with processors awake vs libpcap immediate",
     "latency/cpu/next_frame_latency@awake=1/pcap_immediate", 0.50),
    ("transmit ring, copied, batch 64, vs sendmmsg of 64", "transmit/64/tx_copy/sendmmsg", 1.00),
    ("transmit ring, copied, batch 32, vs sendmmsg of 64",
     "transmit/64/tx_copy@batch=32/sendmmsg", 1.00),
    ("transmit ring, the kernel's, batch 64, vs sendmmsg of 64",
     "transmit/64/tx_ring/sendmmsg", 1.00),
    ("transmit ring, the kernel's, batch 32, vs sendmmsg of 64",
     "transmit/64/tx_ring@batch=32/sendmmsg", 1.00),
    ("inject_batch without a ring vs sendmmsg of 64", "transmit/64/inject_batch/sendmmsg", 1.02),
    ("inject vs pcap_inject", "transmit/64/inject/pcap_inject", 0.85),
    ("inject_batch vs pcap_inject", "transmit/64/inject_batch/pcap_inject", 0.85),
    ("UDP segmentation offload vs sendmmsg", "transmit/64/gso/sendmmsg", 0.40),
    ("fanout, 2 threads vs 1 (1.85 times the rate)", "fanout/imix/two_threads/one_thread", 1 / 1.85),
    ("activate of a 1 GiB ring vs bare calls", "lifecycle/open_1GiB/library/bare", 1.02),
    ("close of a 1 GiB ring vs bare calls", "lifecycle/close_1GiB/library/bare", 1.02),
]

# (what, key in "figures", at most)
FIGURES = [
    ("instructions, block iterator", "instructions/receive/block", 20),
    ("instructions, dispatch", "instructions/receive/dispatch", 45),
    ("instructions, next_frame and release", "instructions/receive/next_frame", 65),
    ("lost of a 40,000-frame burst, defaults, %", "burst/64/next_frame", 0),
    ("heap of a handle, bytes", "memory/heap_bytes", 64 << 10),
    ("allocations after activate", "memory/allocations_after_activate", 0),
    ("stripped shared library, bytes", "memory/stripped_bytes", 700 << 10),
]


def verdict(found, limit):
    """Within the resolution of the measurement: the median must reach the goal."""
    if found is None:
        return "not measured"
    return "reached" if found["median"] <= limit else "**missed**"
