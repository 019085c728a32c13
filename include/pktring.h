/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * libpktring: capture and transmit through every Linux PACKET_MMAP ring. */

#ifndef PKTRING_H
#define PKTRING_H

/* Generated from src/capi by cbindgen: `BLESS=1 cargo test --test header` rewrites it. */

#include <stddef.h>
#include <stdint.h>

/* Calls of these functions look up the address alone, without a jump by way of a stub. */
#if defined(__has_attribute)
#if __has_attribute(noplt)
#define PKTRING_HOT_ __attribute__((noplt))
#endif
#endif
#ifndef PKTRING_HOT_
#define PKTRING_HOT_
#endif

/* Two functions have the name of the struct that they fill in, as stat() has. <pktring/inline.h>
 * ends this. */
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif

/**
 * A capture or transmit handle: one packet socket with up to two rings. pktring_open() makes
 * one, pktring_close() ends it.
 */
typedef struct pktring_handle pktring_t;

/**
 * Least CPU time a frame, and room for bursts: V3, 64 MiB in blocks of 4 MiB. The default.
 */
#define PKTRING_PROFILE_THROUGHPUT 0

/**
 * Least time from arrival to delivery: V2, 8 MiB.
 */
#define PKTRING_PROFILE_LATENCY 1

/**
 * Least memory: V3, 1 MiB.
 */
#define PKTRING_PROFILE_LOW_MEMORY 2

/**
 * The transmit ring is one of the kernel's (PACKET_TX_RING), which sends from its memory.
 */
#define PKTRING_TX_METHOD_RING 0

/**
 * The transmit ring is memory of the process, and each flush copies what is committed to the
 * kernel (sendmmsg(2)).
 */
#define PKTRING_TX_METHOD_COPY 1

/**
 * Bit of pktring_set_memory(): lock the rings (MAP_LOCKED).
 */
#define PKTRING_MEMORY_LOCK 1

/**
 * Bit of pktring_set_memory(): fill the page table at once (MAP_POPULATE).
 */
#define PKTRING_MEMORY_POPULATE 2

/**
 * Bit of pktring_interface.flags: the interface is up (IFF_UP).
 */
#define PKTRING_INTERFACE_UP 1

/**
 * Bit of pktring_interface.flags: the loopback interface (IFF_LOOPBACK).
 */
#define PKTRING_INTERFACE_LOOPBACK 8

/**
 * Bit of pktring_interface.flags: up, and the line works (IFF_RUNNING).
 */
#define PKTRING_INTERFACE_RUNNING 64

/**
 * TPACKET_V1: the oldest ring, one slot a frame, microseconds, loses VLAN tags.
 */
#define PKTRING_V1 0

/**
 * TPACKET_V2: one slot a frame, nanoseconds. Frames are handed over one by one as they
 * arrive, which makes it the version of least latency.
 */
#define PKTRING_V2 1

/**
 * TPACKET_V3: frames of any size packed into blocks, which are handed over when they are full
 * or the retire timeout has passed. The version of least cost a frame.
 */
#define PKTRING_V3 2

/**
 * Receive: a direction of pktring_set_ring(), an event of pktring_wait().
 */
#define PKTRING_RX 1

/**
 * Transmit: a direction of pktring_set_ring(), an event of pktring_wait().
 */
#define PKTRING_TX 2

/**
 * Frames start with their link-level header (SOCK_RAW).
 */
#define PKTRING_RAW 3

/**
 * Frames start with their network header; the kernel takes the link-level header off and puts
 * it on (SOCK_DGRAM).
 */
#define PKTRING_DGRAM 2

/**
 * Feature of a V3 receive ring: fill in pktring_frame.rxhash (TP_FT_REQ_FILL_RXHASH).
 */
#define PKTRING_RXHASH 1

/**
 * Value of pktring_ring.retire_timeout_ms: the kernel chooses, by the speed of the interface and
 * the size of the blocks. pktring_get_ring() then tells what it chose, or this value where the
 * kernel cannot be asked (CONFIG_PACKET_DIAG).
 */
#define PKTRING_RETIRE_KERNEL UINT32_MAX

/**
 * The frame was larger than its V1 or V2 slot and cut (TP_STATUS_COPY).
 */
#define PKTRING_STATUS_COPY (1u << 1)

/**
 * Packets were dropped since the statistics were read last (TP_STATUS_LOSING).
 */
#define PKTRING_STATUS_LOSING (1u << 2)

/**
 * The checksum in the frame is not computed yet: the frame was sent by this host or a guest,
 * which leaves that to hardware (TP_STATUS_CSUMNOTREADY). Do not check it.
 */
#define PKTRING_STATUS_CSUMNOTREADY (1u << 3)

/**
 * pktring_frame.vlan_tci is valid (TP_STATUS_VLAN_VALID).
 */
#define PKTRING_STATUS_VLAN_VALID (1u << 4)

/**
 * The block was handed over by the retire timeout (TP_STATUS_BLK_TMO).
 */
#define PKTRING_STATUS_BLK_TMO (1u << 5)

/**
 * pktring_frame.vlan_tpid is valid (TP_STATUS_VLAN_TPID_VALID).
 */
#define PKTRING_STATUS_VLAN_TPID_VALID (1u << 6)

/**
 * The kernel or the NIC has checked the transport checksum (TP_STATUS_CSUM_VALID).
 */
#define PKTRING_STATUS_CSUM_VALID (1u << 7)

/**
 * The frame is a TCP segment that the NIC or the kernel put together from several
 * (TP_STATUS_GSO_TCP). It can be longer than the MTU.
 */
#define PKTRING_STATUS_GSO_TCP (1u << 8)

/**
 * The timestamp was taken by the kernel when it received the frame (TP_STATUS_TS_SOFTWARE).
 */
#define PKTRING_STATUS_TS_SOFTWARE (1u << 29)

/**
 * The timestamp was taken by the NIC, of its own clock (TP_STATUS_TS_RAW_HARDWARE). Without
 * either bit it was taken when the frame was put into the ring.
 */
#define PKTRING_STATUS_TS_RAW_HARDWARE (1u << 31)

/**
 * Nobody has checked the transport checksum in the frame: check it yourself.
 */
#define PKTRING_CHECKSUM_UNKNOWN 0

/**
 * The kernel or the NIC has checked it, and it is right.
 */
#define PKTRING_CHECKSUM_VALID 1

/**
 * It is not in the frame yet: this host or a guest sent the frame and leaves the checksum to
 * hardware. Do not check it, and do not report it as wrong.
 */
#define PKTRING_CHECKSUM_PENDING 2

/**
 * pktring_vnet.flags: a checksum is to be filled in (VIRTIO_NET_HDR_F_NEEDS_CSUM).
 */
#define PKTRING_VNET_NEEDS_CSUM 1

/**
 * pktring_vnet.flags: the checksums were checked (VIRTIO_NET_HDR_F_DATA_VALID).
 */
#define PKTRING_VNET_DATA_VALID 2

/**
 * pktring_vnet.gso_type: one packet, nothing to cut.
 */
#define PKTRING_VNET_GSO_NONE 0

/**
 * pktring_vnet.gso_type: several TCP segments over IPv4.
 */
#define PKTRING_VNET_GSO_TCPV4 1

/**
 * pktring_vnet.gso_type: one UDP datagram, to be cut into IP fragments.
 */
#define PKTRING_VNET_GSO_UDP 3

/**
 * pktring_vnet.gso_type: several TCP segments over IPv6.
 */
#define PKTRING_VNET_GSO_TCPV6 4

/**
 * pktring_vnet.gso_type: several UDP datagrams (Linux 6.2).
 */
#define PKTRING_VNET_GSO_UDP_L4 5

/**
 * Bit of pktring_vnet.gso_type beside TCP: the segments carry congestion marks.
 */
#define PKTRING_VNET_GSO_ECN 128

/**
 * Datagrams that the kernel makes of one frame at most.
 */
#define PKTRING_SEGMENTS_MAX 64

/**
 * Frames to one multicast address (PACKET_MR_MULTICAST).
 */
#define PKTRING_MEMBERSHIP_MULTICAST 0

/**
 * Every frame on the wire, whoever it is addressed to (PACKET_MR_PROMISC).
 */
#define PKTRING_MEMBERSHIP_PROMISC 1

/**
 * Frames to every multicast address (PACKET_MR_ALLMULTI).
 */
#define PKTRING_MEMBERSHIP_ALLMULTI 2

/**
 * Frames to one further unicast address (PACKET_MR_UNICAST).
 */
#define PKTRING_MEMBERSHIP_UNICAST 3

/**
 * What arrives and what this host sends.
 */
#define PKTRING_DIRECTION_BOTH 0

/**
 * What arrives.
 */
#define PKTRING_DIRECTION_IN 1

/**
 * What this host sends through the interface.
 */
#define PKTRING_DIRECTION_OUT 2

/**
 * The kernel's clock, read where the frame enters the stack or leaves it for the driver.
 */
#define PKTRING_TIMESTAMP_SOFTWARE (1u << 4)

/**
 * The NIC's own clock.
 */
#define PKTRING_TIMESTAMP_HARDWARE (1u << 6)

/**
 * By flow: packets of one connection, in both directions, go to one member. Linux 3.1.
 */
#define PKTRING_FANOUT_HASH 0

/**
 * To one member after the other. Linux 3.1.
 */
#define PKTRING_FANOUT_LB 1

/**
 * By the processor that received the packet. Linux 3.1.
 */
#define PKTRING_FANOUT_CPU 2

/**
 * To the first member until its ring is full, then to the next. Linux 3.10.
 */
#define PKTRING_FANOUT_ROLLOVER 3

/**
 * At random. Linux 3.14.
 */
#define PKTRING_FANOUT_RND 4

/**
 * By the receive queue of the interface. Linux 3.14.
 */
#define PKTRING_FANOUT_QM 5

/**
 * By a classic BPF program, see pktring_set_fanout_program(). Linux 4.3.
 */
#define PKTRING_FANOUT_CBPF 6

/**
 * By an eBPF program, see pktring_set_fanout_bpf(). Linux 4.3.
 */
#define PKTRING_FANOUT_EBPF 7

/**
 * Packets for a member whose ring is full go to another one. Linux 3.10.
 */
#define PKTRING_FANOUT_FLAG_ROLLOVER 4096

/**
 * The kernel chooses a group number that nobody uses; pktring_get_fanout() tells it. Linux 4.12.
 */
#define PKTRING_FANOUT_FLAG_UNIQUEID 8192

/**
 * The group does not see what this host sends. Linux 6.2.
 */
#define PKTRING_FANOUT_FLAG_IGNORE_OUTGOING 16384

/**
 * IPv4 fragments are put together before they are shared out, so that all of a datagram goes
 * to one member, as one packet. Linux 3.1.
 */
#define PKTRING_FANOUT_FLAG_DEFRAG 32768

/**
 * Value of a counter that this kernel or ring does not have.
 */
#define PKTRING_UNAVAILABLE UINT64_MAX

/**
 * Bytes of an error buffer, terminating NUL included.
 */
#define PKTRING_ERRBUF_SIZE 256

/**
 * One instruction of a classic BPF program, laid out like struct sock_filter of
 * linux/filter.h and struct bpf_insn of libpcap.
 */
struct pktring_insn {
    /**
     * Operation.
     */
    uint16_t code;
    /**
     * Instructions to skip when a comparison is true.
     */
    uint8_t jt;
    /**
     * Instructions to skip when it is false.
     */
    uint8_t jf;
    /**
     * Operand.
     */
    uint32_t k;
};

/**
 * Geometry of one ring: struct tpacket_req and tpacket_req3 of the kernel.
 *
 * Set size to sizeof(struct pktring_ring) and the rest to zero, then what you want to choose
 * yourself: zero means the default.
 */
struct pktring_ring {
    /**
     * sizeof(struct pktring_ring).
     */
    size_t size;
    /**
     * Bytes of a block: a multiple of the page size, less than 2 GiB. The kernel rounds its
     * allocation up to a power of two.
     */
    uint32_t block_size;
    /**
     * Blocks in the ring: 1 to 524288.
     */
    uint32_t block_count;
    /**
     * Bytes of a slot: a multiple of 16, from header plus reserve up to the block size. V3
     * receive rings check it and otherwise ignore it.
     */
    uint32_t frame_size;
    /**
     * Slots in the ring. Follows from the others; 0, or exactly that number.
     */
    uint32_t frame_count;
    /**
     * V3 receive: milliseconds after which the kernel hands over a block that is not full;
     * 0: the profile's default, 60 (PKTRING_PROFILE_LOW_MEMORY 20, PKTRING_PROFILE_LATENCY 1);
     * PKTRING_RETIRE_KERNEL: the kernel's own.
     */
    uint32_t retire_timeout_ms;
    /**
     * V3 receive: bytes at the start of every block that are yours; the kernel keeps them.
     */
    uint32_t private_size;
    /**
     * V3 receive: 0 or PKTRING_RXHASH.
     */
    uint32_t features;
    /**
     * Must be 0.
     */
    uint32_t reserved;
};

/**
 * A network interface. As the C API has it; comments are written for the header.
 */
struct pktring_interface {
    /**
     * Number of the interface, as in pktring_addr.ifindex.
     */
    int32_t index;
    /**
     * Bytes that a frame may have behind its link-level header.
     */
    uint32_t mtu;
    /**
     * PKTRING_INTERFACE_* and the other IFF_* bits of net/if.h.
     */
    uint32_t flags;
    /**
     * What captured frames start with, as a libpcap link type (DLT_*); -1 where there is none.
     */
    int32_t linktype;
    /**
     * ARPHRD_* type.
     */
    uint16_t hatype;
    /**
     * Bytes of its link-level address; those beyond 8 are not kept.
     */
    uint16_t halen;
    /**
     * Its link-level address.
     */
    uint8_t addr[8];
    /**
     * Its name, terminated by NUL.
     */
    uint8_t name[16];
    /**
     * 0.
     */
    uint32_t reserved[3];
};

/**
 * An IP address of an interface. As the C API has it.
 */
struct pktring_ip {
    /**
     * Number of the interface.
     */
    int32_t index;
    /**
     * AF_INET (2) or AF_INET6 (10).
     */
    uint16_t family;
    /**
     * Bits of the address that are the network's.
     */
    uint16_t prefix;
    /**
     * The address in network byte order: 4 bytes, or 16.
     */
    uint8_t addr[16];
};

/**
 * What a ring is to be planned for, see pktring_ring_fit().
 */
struct pktring_budget {
    /**
     * sizeof(struct pktring_budget).
     */
    size_t size;
    /**
     * Bytes that the ring may take at most.
     */
    uint64_t memory;
    /**
     * PKTRING_V1, PKTRING_V2 or PKTRING_V3.
     */
    uint32_t version;
    /**
     * PKTRING_RX or PKTRING_TX.
     */
    uint32_t direction;
    /**
     * PKTRING_RAW or PKTRING_DGRAM; 0 means PKTRING_RAW.
     */
    uint32_t mode;
    /**
     * Bytes of the longest frame that is to fit whole: the snaplen, or the MTU plus the
     * link-level header (14 for Ethernet, 18 with a VLAN tag).
     */
    uint32_t frame_length;
    /**
     * Headroom before each frame in bytes, as set by PACKET_RESERVE.
     */
    uint32_t reserve;
    /**
     * Bytes of the virtio_net header before each frame: 0, 10 or 12.
     */
    uint32_t vnet_header;
};

/**
 * Link-level address of a frame, laid out like the kernel's `struct sockaddr_ll`.
 */
struct pktring_addr {
    /**
     * Always AF_PACKET.
     */
    uint16_t family;
    /**
     * EtherType in network byte order. Of a frame with a VLAN tag that the kernel stripped:
     * the inner protocol.
     */
    uint16_t protocol;
    /**
     * Index of the interface that the frame came in or went out through.
     */
    int32_t ifindex;
    /**
     * ARPHRD_* type of the interface.
     */
    uint16_t hatype;
    /**
     * PACKET_HOST 0, PACKET_BROADCAST 1, PACKET_MULTICAST 2, PACKET_OTHERHOST 3 or
     * PACKET_OUTGOING 4.
     */
    uint8_t pkttype;
    /**
     * Valid bytes of addr.
     */
    uint8_t halen;
    /**
     * The sender's link-level address.
     */
    uint8_t addr[8];
};

/**
 * One captured frame. Filled by pktring_next_frame() and pktring_next_batch(), whatever the
 * TPACKET version of the ring; 64 bytes, one cache line, on 64-bit systems.
 *
 * The pointers lead into the ring. They are valid from the call that filled this struct until
 * the frame is given to pktring_release(), and never longer than the handle. Copies of the
 * struct are as good as the original.
 */
struct pktring_frame {
    /**
     * The frame's bytes, from the link-level header (PKTRING_RAW) or the network header
     * (PKTRING_DGRAM). The memory is writable by the program, and the kernel overwrites it
     * once the frame is released.
     */
    const uint8_t *data;
    /**
     * When the frame was received, in nanoseconds since 1970-01-01 00:00 UTC (of the NIC's own
     * clock where PKTRING_STATUS_TS_RAW_HARDWARE is set). V1 rings resolve microseconds.
     */
    uint64_t timestamp;
    /**
     * Bytes at data.
     */
    uint32_t caplen;
    /**
     * Bytes the frame had on the wire. More than caplen where it was cut to the snaplen or to
     * a V1 or V2 slot.
     */
    uint32_t len;
    /**
     * PKTRING_STATUS_* bits, as the kernel wrote them (tp_status).
     */
    uint32_t status;
    /**
     * Offset of data from the start of the frame's slot (tp_mac).
     */
    uint16_t mac;
    /**
     * Offset of the network header from the start of the frame's slot (tp_net): the network
     * header is at data + (net - mac).
     */
    uint16_t net;
    /**
     * Flow hash; 0 where the ring was not asked for it (PKTRING_RXHASH).
     */
    uint32_t rxhash;
    /**
     * VLAN tag that the kernel took off the frame: priority, DEI and VLAN id, 16 bits. Valid
     * where status has PKTRING_STATUS_VLAN_VALID. V1 rings lose it.
     */
    uint32_t vlan_tci;
    /**
     * EtherType of that tag, 0x8100 or 0x88a8 for example. Valid where status has
     * PKTRING_STATUS_VLAN_TPID_VALID.
     */
    uint16_t vlan_tpid;
    /**
     * Of no meaning.
     */
    uint16_t reserved1;
    /**
     * Of no meaning.
     */
    uint32_t reserved2;
    /**
     * Where the frame came from. Never NULL.
     */
    const struct pktring_addr *addr;
    /**
     * The library's: tells the frame from every other one of this and of other handles.
     */
    uint64_t number;
};

/**
 * One whole block of a V3 ring. Filled by pktring_next_block().
 *
 * The pointers lead into the ring. They are valid until the block is given to
 * pktring_release_block(), and never longer than the handle.
 */
struct pktring_block {
    /**
     * Start of the block: the kernel's struct tpacket_block_desc.
     */
    const uint8_t *base;
    /**
     * The caller's area, private_size bytes that the kernel never writes. NULL without one.
     */
    uint8_t *private_area;
    /**
     * When the kernel began to fill the block, in nanoseconds since 1970-01-01 00:00 UTC: at the
     * end of the one before, or when the ring was made.
     */
    uint64_t first_timestamp;
    /**
     * Timestamp of the last frame; where the block was handed over by the retire timeout, the
     * time of that. A frame that was stamped on arrival, before the block was begun, can make it
     * the smaller of the two.
     */
    uint64_t last_timestamp;
    /**
     * The kernel's count of blocks filled, starting with 1. Without a gap as long as no other
     * process consumes the ring.
     */
    uint64_t sequence;
    /**
     * Bytes used in the block, descriptor and private area included.
     */
    uint32_t length;
    /**
     * Frames in the block.
     */
    uint32_t frame_count;
    /**
     * PKTRING_STATUS_* bits of the block; PKTRING_STATUS_BLK_TMO: handed over by the retire
     * timeout before it was full.
     */
    uint32_t status;
    /**
     * Bytes at private_area.
     */
    uint32_t private_size;
    /**
     * Offset of the first frame's header from base, in bytes.
     */
    uint32_t first_offset;
    /**
     * Size of the block in bytes: no frame reaches beyond base + size.
     */
    uint32_t size;
    /**
     * The library's: tells the block from every other one of this and of other handles.
     */
    uint64_t number;
    /**
     * The library's.
     */
    uint64_t slot;
};

/**
 * What is left to do on a frame: struct virtio_net_hdr_mrg_rxbuf of linux/virtio_net.h, and
 * without its last field struct virtio_net_hdr. All numbers are in the host's byte order.
 *
 * On a handle with pktring_set_vnet_header(), frames to transmit start with the first 10 or all
 * 12 bytes of it; those of received frames are told by pktring_frame_vnet().
 */
struct pktring_vnet {
    /**
     * PKTRING_VNET_NEEDS_CSUM and PKTRING_VNET_DATA_VALID.
     */
    uint8_t flags;
    /**
     * PKTRING_VNET_GSO_*.
     */
    uint8_t gso_type;
    /**
     * Bytes of all headers of the frame together.
     */
    uint16_t hdr_len;
    /**
     * Payload bytes of each packet that the frame is to be cut into.
     */
    uint16_t gso_size;
    /**
     * With PKTRING_VNET_NEEDS_CSUM: offset in the frame of the first byte that the checksum
     * covers.
     */
    uint16_t csum_start;
    /**
     * With PKTRING_VNET_NEEDS_CSUM: offset of the checksum from csum_start. There must be the
     * sum of the pseudo header.
     */
    uint16_t csum_offset;
    /**
     * 0. Only in headers of 12 bytes.
     */
    uint16_t num_buffers;
};

/**
 * Called by pktring_dispatch() and pktring_loop() for every frame.
 *
 * @param user   the pointer given to them
 * @param frame  the frame, valid until the callback returns; it must not be released
 *
 * A C++ callback must not throw, and no callback may leave with longjmp().
 */
typedef void (*pktring_handler)(void *user, const struct pktring_frame *frame);

/**
 * A free slot of the transmit ring, to write a frame into. Filled by pktring_tx_reserve().
 *
 * The memory at data is the caller's from then until pktring_tx_commit() or
 * pktring_tx_abort(), and never longer than the handle.
 */
struct pktring_slot {
    /**
     * Where the frame goes: from the link-level header on (PKTRING_RAW), or from the network
     * header on (PKTRING_DGRAM).
     */
    uint8_t *data;
    /**
     * Bytes that the frame may have: by the slot, and by the interface's MTU. On Ethernet
     * interfaces the MTU leaves 4 bytes more to a frame with an 802.1Q tag, which are counted here:
     * one without may have MTU + 14, and pktring_tx_commit() names that in its error.
     */
    uint32_t capacity;
    /**
     * Where the frame starts behind data, in bytes. Must be left 0, except on a handle that
     * places frames freely (PACKET_TX_HAS_OFF).
     */
    uint32_t offset;
    /**
     * Yours: set it before pktring_tx_commit() to find the frame again among the completions.
     * 0 at first.
     */
    uint64_t user_data;
    /**
     * The library's: tells the reservation from every other one of this and of other handles.
     */
    uint64_t number;
};

/**
 * What became of a frame that was committed for transmission. Filled by pktring_tx_complete().
 */
struct pktring_completion {
    /**
     * pktring_slot.user_data as it was when the frame was committed.
     */
    uint64_t user_data;
    /**
     * When the frame was sent, in nanoseconds since 1970-01-01 00:00 UTC; 0 when the kernel did
     * not say.
     */
    uint64_t timestamp;
    /**
     * Bytes of the frame.
     */
    uint32_t length;
    /**
     * 0: sent. Otherwise the negative errno value of why the kernel refused it.
     */
    int32_t error;
    /**
     * PKTRING_STATUS_TS_* bits that tell which clock timestamp is of.
     */
    uint32_t status;
    /**
     * 0.
     */
    uint32_t reserved;
};

/**
 * One frame for pktring_inject_batch(), laid out like struct iovec of sys/uio.h.
 */
struct pktring_buffer {
    /**
     * The frame.
     */
    const void *data;
    /**
     * Its length in bytes.
     */
    size_t length;
};

/**
 * How a NIC takes timestamps: struct hwtstamp_config of linux/net_tstamp.h.
 */
struct pktring_hwtstamp {
    /**
     * sizeof(struct pktring_hwtstamp).
     */
    size_t size;
    /**
     * HWTSTAMP_TX_OFF (0), HWTSTAMP_TX_ON (1) and others: which sent frames are stamped.
     */
    uint32_t tx_type;
    /**
     * HWTSTAMP_FILTER_NONE (0), HWTSTAMP_FILTER_ALL (1) and others: which received frames are
     * stamped.
     */
    uint32_t rx_filter;
    /**
     * HWTSTAMP_FLAG_* bits.
     */
    uint32_t flags;
    /**
     * Must be 0.
     */
    uint32_t reserved;
};

/**
 * How a group of handles shares what one interface receives (PACKET_FANOUT).
 */
struct pktring_fanout {
    /**
     * sizeof(struct pktring_fanout).
     */
    size_t size;
    /**
     * PKTRING_FANOUT_HASH (default), _LB, _CPU, _ROLLOVER, _RND, _QM, _CBPF or _EBPF.
     */
    uint32_t mode;
    /**
     * PKTRING_FANOUT_FLAG_* bits.
     */
    uint32_t flags;
    /**
     * Number of the group in this network namespace, 0 to 65535. Whoever names the same one
     * joins the same group, from whatever process.
     */
    uint32_t group;
    /**
     * Members that the group can have, at most 65536; 0: the kernel's default, which is 256.
     * Linux 5.11.
     */
    uint32_t max_members;
};

/**
 * What a group that rolls over did, see pktring_fanout_stats().
 */
struct pktring_fanout_stats {
    /**
     * sizeof(struct pktring_fanout_stats).
     */
    size_t size;
    /**
     * Packets that were meant for this member and went to another one (tp_all). With mode ROLLOVER
     * all packets of the group are meant for none in particular: the first member counts each one
     * that found room anywhere, its own included.
     */
    uint64_t all;
    /**
     * Those of them that belong to a flow which alone takes more than half of the recent
     * packets, and was moved for that (tp_huge).
     */
    uint64_t huge;
    /**
     * Packets for which no member had room (tp_failed).
     */
    uint64_t failed;
};

/**
 * Counters of a handle since it was activated. They never wrap and are never reset. A counter
 * that does not apply to the handle is 0 on one that never could (transmit counters of a
 * receive-only handle) and PKTRING_UNAVAILABLE where the kernel does not tell.
 */
struct pktring_stats {
    /**
     * sizeof(struct pktring_stats).
     */
    size_t size;
    /**
     * Packets that the kernel took for this handle after the filter, dropped ones included
     * (tp_packets).
     */
    uint64_t received;
    /**
     * Packets that the kernel dropped because the ring had no room (tp_drops). What arrived in
     * the ring is received minus dropped.
     */
    uint64_t dropped;
    /**
     * Times the kernel found the ring full (tp_freeze_q_cnt); V3 only, otherwise
     * PKTRING_UNAVAILABLE.
     */
    uint64_t freezes;
    /**
     * Frames handed to the program.
     */
    uint64_t frames;
    /**
     * Captured bytes of these frames, except for those of whole blocks.
     */
    uint64_t bytes;
    /**
     * Frames that the program holds now.
     */
    uint64_t held;
    /**
     * Times a wait went to sleep and was woken.
     */
    uint64_t wakeups;
    /**
     * Frames that were skipped because the ring contents could not be right.
     */
    uint64_t corrupt;
    /**
     * Frames sent: given to the driver or the queueing discipline and completed.
     */
    uint64_t tx_frames;
    /**
     * Bytes of these frames.
     */
    uint64_t tx_bytes;
    /**
     * Frames that the kernel refused.
     */
    uint64_t tx_refused;
    /**
     * Frames committed and neither sent nor refused yet.
     */
    uint64_t tx_in_flight;
    /**
     * Frames that were in the ring when a filter was set that rejects them, see
     * pktring_set_filter(). They count as received, not as frames.
     */
    uint64_t filtered;
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Opens a handle on a network interface, without touching the network yet.
 *
 * What follows is: pktring_set_*() and pktring_set_ring() as needed, then pktring_activate(),
 * which makes the socket and the rings. A handle that is activated without any
 * pktring_set_ring() gets one receive ring with the defaults.
 *
 * @param device  name of the interface, 1 to 15 bytes; NULL or "any" for all interfaces. It is
 *                looked up by pktring_activate().
 * @param errbuf  receives the error text; PKTRING_ERRBUF_SIZE bytes, or NULL
 * @return the handle, to be freed with pktring_close(); NULL with errno set and the text in
 *         errbuf when the name cannot be one (EINVAL) or memory or descriptors ran out.
 *
 * A handle that stays open across fork() belongs to the parent: every call in the child
 * returns -EBADF. The child has a copy of the socket's descriptor, though, as of any other: a
 * handle that the parent closes leaves its socket and the memory of its rings with the kernel, its
 * memberships and its place in a fanout group, whose packets go nowhere then, until the child ends
 * or starts another program. A child that lives on should close(2) what pktring_fd() told before
 * the fork.
 */
pktring_t *pktring_open(const char *device, char *errbuf);

/**
 * Opens an interface for capture in one call: a receive ring with the defaults, activated.
 *
 * The same as pktring_open(), pktring_set_snaplen(), pktring_set_promisc() and
 * pktring_activate() in turn. Frames that arrive from now on wait in the ring.
 *
 * @param device   name of the interface; NULL or "any" for all interfaces
 * @param snaplen  bytes to keep of each frame; 0: all
 * @param promisc  not 0: also receive frames that are addressed to other stations
 * @param errbuf   receives the error text; PKTRING_ERRBUF_SIZE bytes, or NULL
 * @return the handle, to be freed with pktring_close(); NULL with errno set and the text in
 *         errbuf on failure, for the reasons that pktring_activate() names.
 */
pktring_t *pktring_open_capture(const char *device, uint32_t snaplen, int promisc, char *errbuf);

/**
 * Opens an interface for transmission in one call: a transmit ring with the defaults,
 * activated.
 *
 * The same as pktring_open(), pktring_set_ring() with PKTRING_TX, pktring_set_tx_method() with
 * PKTRING_TX_METHOD_COPY and pktring_activate() in turn. The handle receives nothing and costs
 * the receive path nothing.
 *
 * @param device  name of the interface
 * @param errbuf  receives the error text; PKTRING_ERRBUF_SIZE bytes, or NULL
 * @return the handle, to be freed with pktring_close(); NULL with errno set and the text in
 *         errbuf on failure, for the reasons that pktring_activate() names.
 */
pktring_t *pktring_open_transmit(const char *device, char *errbuf);

/**
 * Makes the socket and its rings as set before, and starts to receive.
 *
 * Everything is done in the one order in which the kernel neither refuses nor ignores an
 * option, and in which no packet is seen that does not meet the filter and the interface: a
 * handle never delivers a packet from before, or from elsewhere.
 *
 * @param handle  a handle that is not active
 * @return 0, or a negative errno value with the text in pktring_geterr(); the handle then has
 *         no socket and no ring, and can be changed and activated again:
 *         - -EPERM   CAP_NET_RAW is missing
 *         - -ENODEV  there is no such interface
 *         - -ENOMEM  the kernel has no memory for the ring; nothing smaller is set up instead
 *         - -EINVAL  settings that do not fit each other; the text names them
 *         - -EMFILE  no descriptors are left: an active handle takes three, with both rings five
 *         - -EBUSY   the handle is active already
 *         - -EFAULT  handle is NULL
 *
 * What else can go wrong with a setting is told at the function that sets it. An interface that is
 * down is no failure: capture starts when it comes up.
 */
int pktring_activate(pktring_t *handle);

/**
 * Closes a handle and frees everything that belongs to it.
 *
 * Pointers into its rings become invalid. Calls of other threads that wait (pktring_wait,
 * pktring_dispatch, pktring_loop, pktring_tx_flush), that inject, or that ask for statistics
 * return before the handle is freed, those that wait with -ESHUTDOWN. A thread that calls again
 * after that is told -EBADF, so a loop around pktring_dispatch() ends by itself. (This holds
 * until 32 more handles have been closed.) But a thread that is in the middle of frames must be
 * stopped first, with pktring_breakloop() and a join for example: the memory that it looks at
 * ends here. Frames that were given to the kernel and not sent yet are waited for, for at most
 * one second.
 *
 * @param handle  the handle; NULL is allowed and does nothing
 * @return 0 when everything committed was sent or refused; the number of frames that were still
 *         in flight after one second (the kernel goes on sending those it has begun); -EBUSY
 *         when called from inside a callback of the same handle, which is left as it is;
 *         -EBADF in a child forked after the handle was opened.
 */
int pktring_close(pktring_t *handle);

/**
 * Chooses the TPACKET version (PACKET_VERSION). Set it before the rings, which are checked
 * against it.
 *
 * V1 rings have a word of the kernel's width in them: in a 32-bit program on a 64-bit kernel
 * pktring_activate() refuses them with -EOPNOTSUPP.
 *
 * @param handle   a handle that is not active
 * @param version  PKTRING_V1, PKTRING_V2 or PKTRING_V3 (default)
 * @return 0; -EINVAL for another value; -EBUSY when active; -EFAULT when handle is NULL
 */
int pktring_set_version(pktring_t *handle, uint32_t version);

/**
 * Chooses whether frames carry their link-level header.
 *
 * @param handle  a handle that is not active
 * @param mode    PKTRING_RAW (default) or PKTRING_DGRAM
 * @return 0; -EINVAL for another value; -EBUSY when active; -EFAULT when handle is NULL
 */
int pktring_set_mode(pktring_t *handle, uint32_t mode);

/**
 * Chooses the protocol to receive: the third argument of socket(2) for a packet socket.
 *
 * A handle for one protocol does not see frames that this host sends.
 *
 * @param handle     a handle that is not active
 * @param ethertype  EtherType in host byte order, 1 to 65535; 3 (ETH_P_ALL): every protocol;
 *                   0: the default, which is every protocol for a handle with a receive ring
 *                   and none for one that only transmits
 * @return 0; -EINVAL above 65535; -EBUSY when active; -EFAULT when handle is NULL
 */
int pktring_set_protocol(pktring_t *handle, uint32_t ethertype);

/**
 * Chooses the TPACKET version and the defaults of the rings for a purpose.
 *
 * Replaces an earlier pktring_set_version(); rings that were set keep what they name.
 *
 * @param handle   a handle that is not active
 * @param profile  PKTRING_PROFILE_THROUGHPUT (default), PKTRING_PROFILE_LATENCY or
 *                 PKTRING_PROFILE_LOW_MEMORY
 * @return 0; -EINVAL for another value; -EBUSY when active; -EFAULT when handle is NULL
 */
int pktring_set_profile(pktring_t *handle, uint32_t profile);

/**
 * Chooses how the frames of a transmit ring get to the kernel.
 *
 * Everything that pktring_tx_reserve() and its companions promise holds either way, and so does
 * the geometry of pktring_set_ring(). What differs:
 *
 * PKTRING_TX_METHOD_RING: the slots are shared with the kernel, which builds a packet around the
 * memory of each and gives the slot back when the device is done with it. Where a device cannot
 * send from such memory, as veth, tap and loopback devices, which pass the packet on to somebody
 * else, it is copied after all, and that costs more than the other method does.
 *
 * PKTRING_TX_METHOD_COPY: the slots belong to the process, and pktring_tx_flush() has the kernel
 * copy up to 64 frames with each system call. It gives a slot back as soon as the frame was copied
 * and queued, so a frame counts as sent then, and its completion says no more than that. It needs
 * no memory of the kernel's, and pktring_fd() is writable whenever the socket is. Timestamps of
 * sent frames (pktring_set_timestamp()) are to be had with a ring alone.
 *
 * docs/performance.md has what was measured. pktring_open_transmit() uses PKTRING_TX_METHOD_COPY.
 *
 * @param handle  a handle that is not active
 * @param method  PKTRING_TX_METHOD_RING (default) or PKTRING_TX_METHOD_COPY; of no meaning
 *                without a transmit ring
 * @return 0; -EINVAL for another value; -EBUSY when active; -EFAULT when handle is NULL
 */
int pktring_set_tx_method(pktring_t *handle, uint32_t method);

/**
 * Limits how many bytes of each frame are kept, exactly, with every version: longer frames are
 * cut in the kernel by the filter. pktring_frame.len still tells the length on the wire.
 *
 * @param handle   a handle that is not active
 * @param snaplen  bytes; 0 (default): whole frames
 * @return 0; -EBUSY when active; -EFAULT when handle is NULL
 */
int pktring_set_snaplen(pktring_t *handle, uint32_t snaplen);

/**
 * Receives frames that are addressed to other stations, too.
 *
 * Done by a membership (PACKET_ADD_MEMBERSHIP with PACKET_MR_PROMISC), which ends with the
 * handle whatever happens to the program; the interface's IFF_PROMISC flag is not touched.
 *
 * @param handle  a handle that is not active, for one interface
 * @param on      not 0: promiscuous; 0 (default): not
 * @return 0; -EBUSY when active; -EFAULT when handle is NULL
 */
int pktring_set_promisc(pktring_t *handle, int on);

/**
 * Looks at the ring for some time before a wait goes to sleep.
 *
 * Saves the time of a wake-up, tens of microseconds, at the price of a busy processor. Of use
 * with V1 and V2 rings; V3 blocks arrive with their retire timeout anyway.
 *
 * @param handle        a handle that is not active
 * @param microseconds  how long; 0 (default): sleep at once
 * @return 0; -EBUSY when active; -EFAULT when handle is NULL
 */
int pktring_set_spin(pktring_t *handle, uint32_t microseconds);

/**
 * Sets the classic BPF filter that selects the packets to receive.
 *
 * Set before pktring_activate() it is in place before the first packet: nothing that it
 * rejects is ever delivered. Set later it replaces the filter before it at once: no frame that it
 * rejects is delivered after the call, and none that both accept is lost. The kernel changes
 * over between two packets, and the call waits until it is done with those before, which takes
 * some milliseconds, 17 on average where this was measured (membarrier(2)); have room in the ring
 * for what arrives meanwhile. Frames that are in the ring then are asked about by the library when
 * they are read: it runs the same program over what the ring kept of them, for some ten nanoseconds
 * an instruction. Those behind cost nothing. Where the kernel cannot be waited for (before Linux
 * 4.3, with nohz_full, forbidden by seccomp, on a machine with one processor) the call returns at
 * once, and the library asks about every frame for a second and a lap of the ring; the promise is
 * the same. A frame that was cut so short that the filter cannot see what it asks for is dropped
 * if it came before the call. In a whole block, pktring_iter_next() passes the frames that
 * are rejected; frame_count still includes them, and a program that walks the block by itself
 * finds TP_STATUS_USER missing in their status. Frames and blocks that the program holds stay as
 * they are.
 *
 * @param handle   the handle
 * @param program  the instructions, copied; NULL with count 0 removes the filter
 * @param count    number of instructions, 1 to 4096
 * @return 0; -EINVAL when the kernel's checker refuses the program (found out by
 *         pktring_activate() when the handle is not active), when there are too many
 *         instructions, and on an active handle when the program asks for something that the
 *         ring does not keep of a frame: mark, queue, processor, hash, a random number, payload
 *         offset or netlink attributes, with V1 rings the VLAN tag, with PKTRING_DGRAM the
 *         link-level header, with pktring_set_original_device() the interface; -ENOMEM when the
 *         program takes more memory than the sysctl net.core.optmem_max leaves to a socket, which
 *         for a change has to hold both programs: its default before Linux 6.7, 20 KiB, is used
 *         up by some 2500 instructions, or by 180 that load from the packet (found out when
 *         -EINVAL is); -EBUSY when the filter is locked; -EFAULT when handle, or program with a
 *         count, is NULL. The old filter stays when an error is returned.
 *
 * On an active handle for the thread that receives. libpcap's compiler makes programs from
 * expressions: c-examples/tools/filter.c shows how. VLAN tags are not in the packet that the
 * program sees, but beside it: "vlan" has to be compiled for a live libpcap handle, which knows.
 */
int pktring_set_filter(pktring_t *handle, const struct pktring_insn *program, uint32_t count);

/**
 * Asks for a ring.
 *
 * With PKTRING_RX the handle receives, with PKTRING_TX it transmits, with both it does both,
 * through one mapping. The request is checked here and set up by pktring_activate(), exactly or
 * not at all.
 *
 * @param handle     a handle that is not active
 * @param direction  PKTRING_RX or PKTRING_TX
 * @param ring       what to set up; fields that are 0 take the default of the profile, and
 *                   NULL stands for all defaults
 * @return 0; -EINVAL with a text that names the field at fault, the rule and the nearest valid
 *         value; -EBUSY when active; -E2BIG for a longer struct with unknown fields set;
 *         -EFAULT when handle is NULL
 */
int pktring_set_ring(pktring_t *handle, uint32_t direction, const struct pktring_ring *ring);

/**
 * Reads back the ring that was set up, with every default filled in.
 *
 * @param handle     an active handle
 * @param direction  PKTRING_RX or PKTRING_TX
 * @param ring       receives the ring; its size field is set
 * @return 0; -EBUSY when the handle is not active; -EINVAL for another direction, or when the
 *         handle has no such ring; -EFAULT for NULL
 *
 * May be called from any thread.
 */
int pktring_get_ring(pktring_t *handle, uint32_t direction, struct pktring_ring *ring);

/**
 * Reserves headroom before each received frame (PACKET_RESERVE, Linux 2.6.27).
 *
 * The bytes before pktring_frame.data are yours: put a header of your own in front of a frame
 * without moving it. Even without this, 14 bytes in front of an Ethernet frame are free (see
 * pktring_vlan_reinsert()), or 4 where a VLAN tag is still in the frame. Frames start where the
 * kernel would put them plus exactly this many bytes: a number that is no multiple of 16 takes
 * the network header off its alignment. Costs that many bytes a frame in the ring.
 *
 * @param handle  a handle that is not active; set it before the rings, which are checked
 *                against it
 * @param bytes   0 (default) to 65408
 * @return 0; -EINVAL above; -EBUSY when active; -EFAULT when handle is NULL
 */
int pktring_set_reserve(pktring_t *handle, uint32_t bytes);

/**
 * Puts a virtio_net header before each frame, both ways (PACKET_VNET_HDR, Linux 2.6.34;
 * PACKET_VNET_HDR_SZ for 12 bytes, Linux 6.4).
 *
 * Received frames then carry what is left to do on them: checksum and segmentation, see
 * pktring_frame_vnet(). Frames to transmit must start with such a header, see struct
 * pktring_vnet, and may leave the same to the kernel or the NIC: up to 64 KiB are sent as one,
 * see pktring_inject_gso().
 *
 * Linux wedges V1 and V2 receive rings with this option when a packet arrives whose segmentation
 * the header cannot express (IP fragments put together for a virtual machine, for example):
 * nothing is ever received again. pktring_wait(), pktring_dispatch() and pktring_loop() notice
 * and make the ring anew, see pktring_recover(). V3 rings do not have the fault.
 *
 * @param handle  a handle that is not active, with PKTRING_RAW; set it before the rings, which
 *                are checked against it
 * @param bytes   size of the header: 0 (default, none), 10, or 12 with the field that virtio
 *                calls num_buffers, which is always 0
 * @return 0; -EINVAL for another size; -EBUSY when active; -EFAULT when handle is NULL.
 *         pktring_activate() returns -EINVAL together with PKTRING_DGRAM, and -EOPNOTSUPP where
 *         the kernel lacks the size.
 */
int pktring_set_vnet_header(pktring_t *handle, uint32_t bytes);

/**
 * Has the kernel skip malformed frames in the transmit ring (PACKET_LOSS, Linux 2.6.31).
 *
 * Off, a frame that the kernel cannot send completes with an error and is counted in
 * pktring_stats.tx_refused. On, the kernel passes over it and reports it as sent: for programs
 * that do not look.
 *
 * @param handle  a handle that is not active
 * @param on      not 0: on; 0 (default): off
 * @return 0; -EBUSY when active; -EFAULT when handle is NULL
 */
int pktring_set_loss(pktring_t *handle, int on);

/**
 * Lets frames start anywhere in their transmit slot (PACKET_TX_HAS_OFF, Linux 3.8).
 *
 * pktring_slot.offset then tells pktring_tx_commit() how far behind pktring_slot.data the frame
 * starts: write the payload where its alignment is best, and headers of any length in front of
 * it. Nothing is copied. Slots grow by what you leave in front: choose pktring_ring.frame_size
 * accordingly.
 *
 * @param handle  a handle that is not active
 * @param on      not 0: on; 0 (default): off, every frame starts at pktring_slot.data
 * @return 0; -EBUSY when active; -EFAULT when handle is NULL
 */
int pktring_set_tx_offset(pktring_t *handle, int on);

/**
 * Sends past the interface's queueing discipline, straight to the driver (PACKET_QDISC_BYPASS,
 * Linux 3.14).
 *
 * Saves the queue's work where there is one. Such frames are not shaped, are not seen by
 * captures on this host, and are refused instead of queued while the driver is busy: then
 * pktring_tx_flush() tries them again. Frames for the kernel to segment need it off.
 *
 * @param handle  the handle; at any time, also while transmitting
 * @param on      not 0: on; 0 (default): off
 * @return 0; -EOPNOTSUPP where the kernel lacks it; -EFAULT when handle is NULL
 */
int pktring_set_qdisc_bypass(pktring_t *handle, int on);

/**
 * Receives only what comes in, not what this host sends (PACKET_IGNORE_OUTGOING, Linux 4.20).
 *
 * Cheaper than a filter: the frame is not even looked at. In a fanout group the kernel does not
 * heed it; the group has a flag of its own, PKTRING_FANOUT_FLAG_IGNORE_OUTGOING.
 *
 * @param handle  the handle; at any time. Later it holds for packets from then on.
 * @param on      not 0: on; 0 (default): off
 * @return 0; -EOPNOTSUPP where the kernel lacks it; -EFAULT when handle is NULL. In a fanout group
 *         without that flag -EINVAL: from pktring_activate(), or from here once active
 */
int pktring_set_ignore_outgoing(pktring_t *handle, int on);

/**
 * Has pktring_addr.ifindex name the interface that a frame first arrived at (PACKET_ORIGDEV,
 * Linux 2.6.21).
 *
 * Of use on interfaces that get their frames from others: with a bond, a VLAN or a macvlan
 * interface it names the port or the lower interface instead of the one that the handle is on.
 *
 * @param handle  the handle; at any time. Later it holds for packets from then on.
 * @param on      not 0: on; 0 (default): off
 * @return 0; -EFAULT when handle is NULL
 */
int pktring_set_original_device(pktring_t *handle, int on);

/**
 * Keeps a whole copy of every frame that a V1 or V2 slot cuts (PACKET_COPY_THRESH, Linux 2.4).
 *
 * Such frames have PKTRING_STATUS_COPY; pktring_copy_whole() fetches the copy. Small slots for
 * the many short frames and whole copies of the few long ones save memory. Copies wait in the
 * socket's receive buffer, see pktring_set_buffer(): while that is full, frames are cut without
 * the flag. Costs nothing for frames that fit their slot, save that the kernel stamps every
 * packet on the host when it arrives, as for tcpdump.
 *
 * @param handle  the handle, with PKTRING_V1 or PKTRING_V2; at any time
 * @param on      not 0: on; 0 (default): off
 * @return 0; -EFAULT when handle is NULL. With PKTRING_V3, which has no slots, -EINVAL: from
 *         pktring_activate(), or from here once active
 */
int pktring_set_copies(pktring_t *handle, int on);

/**
 * Sets a socket buffer (SO_RCVBUF, SO_SNDBUF), exactly or not at all.
 *
 * The receive buffer holds the copies of pktring_set_copies() and nothing else: rings are not
 * counted. The send buffer limits the bytes of frames under way, with a transmit ring as well:
 * when a ring does not fill the line, it may be too small.
 *
 * @param handle     the handle; at any time
 * @param direction  PKTRING_RX or PKTRING_TX
 * @param bytes      1 to 1073741823; less than about 2300 is raised to that by the kernel. The
 *                   default is the administrator's (net.core.rmem_default and wmem_default).
 * @return 0; -EINVAL for other values, and for more than net.core.rmem_max or wmem_max without
 *         CAP_NET_ADMIN; -EFAULT when handle is NULL
 */
int pktring_set_buffer(pktring_t *handle, uint32_t direction, uint32_t bytes);

/**
 * Reads the size of a socket buffer back.
 *
 * @param handle     an active handle
 * @param direction  PKTRING_RX or PKTRING_TX
 * @return bytes as given to pktring_set_buffer(), half of what the kernel reports; -EINVAL for
 *         another direction; -EBUSY when the handle is not active; -EFAULT for NULL
 */
int pktring_get_buffer(pktring_t *handle, uint32_t direction);

/**
 * Has waits poll the interface instead of sleeping until its interrupt (SO_BUSY_POLL, Linux
 * 3.11; SO_PREFER_BUSY_POLL and SO_BUSY_POLL_BUDGET, Linux 5.11).
 *
 * Without effect on receive rings of every kernel up to Linux 6.18 at least: the kernel polls the
 * queue that a socket's packets came from, and never notes it for packet sockets, see
 * pktring_get_napi_id(). The setting is passed on and read back for the day when it does. Use
 * pktring_set_spin(), which needs nothing of the kernel or the driver; and the interface's own
 * interrupt moderation (ethtool -C).
 *
 * @param handle        the handle; at any time
 * @param microseconds  how long to poll; 0: do not. Default: net.core.busy_read (sysctl)
 * @param budget        packets to take at once, 0 to 65535; 0: the kernel's default, 8
 * @param prefer        not 0: keep the interface's interrupts off as long as the program polls
 * @return 0; -EINVAL out of range; -EPERM without CAP_NET_ADMIN for the preference, for a larger
 *         budget than the default, and on older kernels for more microseconds than before;
 *         -EOPNOTSUPP where the kernel lacks it; -EFAULT when handle is NULL. Values given
 *         before are judged by pktring_activate().
 */
int pktring_set_busy_poll(pktring_t *handle, uint32_t microseconds, uint32_t budget, int prefer);

/**
 * Keeps the machine's processors from sleeping so deeply that waking one takes longer than this
 * (/dev/cpu_dma_latency, Linux 2.6.25), from pktring_activate() to pktring_close().
 *
 * What a frame on an idle link waits for is mostly a processor that has to wake up. Threads sleep as
 * ever, and nothing is taken from other programs; but it holds for every processor of the machine and
 * costs power, in a virtual machine processor time of its host. Where several programs ask,
 * the least counts.
 *
 * @param handle        a handle that is not active
 * @param microseconds  how long waking up may take; 0: idle processors do not sleep at all;
 *                      negative (default): as long as the kernel likes. What the processors can do
 *                      is in /sys/devices/system/cpu/cpu0/cpuidle: a state is used whose
 *                      latency is not above.
 * @return 0; -EBUSY when active; -EFAULT when handle is NULL. pktring_activate() returns -EPERM
 *         without write permission for that file, which root has, and -ENOENT where it is not.
 */
int pktring_set_wake_latency(pktring_t *handle, int microseconds);

/**
 * Tells the kernel which processor the socket's packets are handled on (SO_INCOMING_CPU, Linux
 * 4.4).
 *
 * A hint that stays with the socket. It moves neither packets nor threads: bind the receiving
 * thread and the interface's interrupt to a processor for that, and spread packets by processor
 * with a fanout group.
 *
 * @param handle  the handle; at any time
 * @param cpu     number of the processor, 0 to 2147483647
 * @return 0; -EINVAL above; -EFAULT when handle is NULL
 */
int pktring_set_incoming_cpu(pktring_t *handle, uint32_t cpu);

/**
 * Reads the processor hint back (SO_INCOMING_CPU).
 *
 * @param handle  an active handle
 * @return number of the processor; -EAGAIN while none is known; -EBUSY when the handle is not
 *         active; -EFAULT for NULL
 */
int pktring_get_incoming_cpu(pktring_t *handle);

/**
 * Tells which receive queue the socket's packets come from (SO_INCOMING_NAPI_ID, Linux 4.12), as
 * far as the kernel knows. No kernel up to Linux 6.18 at least notes it for packet sockets: they
 * answer -EAGAIN however many packets they have received.
 *
 * @param handle  an active handle
 * @return the kernel's number of the queue, 1 or more; -EAGAIN while none is known; -EOPNOTSUPP
 *         where the kernel lacks it; -EBUSY when the handle is not active; -EFAULT for NULL
 */
int pktring_get_napi_id(pktring_t *handle);

/**
 * Chooses how the rings are mapped (MAP_LOCKED, MAP_POPULATE).
 *
 * Neither is needed: ring memory belongs to the kernel, is never swapped, and is in the page
 * table as soon as it is mapped. PKTRING_MEMORY_LOCK counts it against RLIMIT_MEMLOCK, for
 * programs that must prove that all their memory is locked.
 *
 * @param handle  a handle that is not active
 * @param flags   PKTRING_MEMORY_LOCK, PKTRING_MEMORY_POPULATE, both, or 0 (default)
 * @return 0; -EINVAL for other bits; -EBUSY when active; -EFAULT when handle is NULL.
 *         pktring_activate() returns -EAGAIN when the rings are larger than RLIMIT_MEMLOCK.
 */
int pktring_set_memory(pktring_t *handle, uint32_t flags);

/**
 * Lists the network interfaces.
 *
 * @param netns   the network namespace: NULL for the calling thread's, the name of one made by
 *                "ip netns add", or a path with a slash, such as "/proc/PID/ns/net" or, for a
 *                descriptor, "/proc/self/fd/N". Others need CAP_SYS_ADMIN.
 * @param list    array of max interfaces; NULL with max 0 only counts
 * @param max     interfaces that fit list
 * @param errbuf  receives the error text; PKTRING_ERRBUF_SIZE bytes, or NULL
 * @return number of interfaces there are, which can be more than max; negative errno value:
 *         -ENOENT no such namespace, -EPERM, -EINVAL it is no network namespace, -EFAULT
 *
 * Needs no privilege in the own namespace. May be called from any thread.
 */
int pktring_interfaces(const char *netns, struct pktring_interface *list, uint32_t max, char *errbuf);

/**
 * Lists the IP addresses of network interfaces.
 *
 * @param netns   the network namespace, as for pktring_interfaces()
 * @param index   number of the interface; 0 for all
 * @param list    array of max addresses; NULL with max 0 only counts
 * @param max     addresses that fit list
 * @param errbuf  receives the error text; PKTRING_ERRBUF_SIZE bytes, or NULL
 * @return number of addresses there are, which can be more than max; negative errno value as
 *         from pktring_interfaces()
 *
 * May be called from any thread.
 */
int pktring_addresses(const char *netns, int index, struct pktring_ip *list, uint32_t max, char *errbuf);

/**
 * Puts the handle into another network namespace, without moving the program there.
 *
 * The interface is looked up and the socket is opened there by pktring_activate(); it stays
 * there for good. Needs CAP_SYS_ADMIN over the namespace.
 *
 * @param handle  a handle that is not active
 * @param netns   name of a namespace made by "ip netns add", or a path with a slash such as
 *                "/proc/PID/ns/net"; NULL (default): where the thread is that activates. It is
 *                opened now, so the path is not needed later.
 * @return 0; -ENOENT when it does not exist; -EPERM, -EACCES; -EBUSY when active; -EFAULT when
 *         handle is NULL. pktring_activate() returns -EINVAL for a file that is no network
 *         namespace, and -EPERM.
 */
int pktring_set_netns(pktring_t *handle, const char *netns);

/**
 * The same as pktring_set_netns(), for a descriptor of a network namespace.
 *
 * @param handle  a handle that is not active
 * @param fd      descriptor of an open /proc/PID/ns/net or the like, or of a process
 *                (pidfd_open(2), Linux 5.8). It is duplicated and stays yours. -1: where the
 *                thread is that activates.
 * @return 0; -EINVAL below -1; -EBADF when it is not open; -EBUSY when active; -EFAULT when
 *         handle is NULL. pktring_activate() returns -EINVAL when it is something else.
 */
int pktring_set_netns_fd(pktring_t *handle, int fd);

/**
 * The libpcap link type (DLT_*) for a type of interface. With a handle on "any" interface it
 * tells for each frame what it starts with.
 *
 * @param hatype  ARPHRD_* type, as in pktring_addr.hatype and pktring_interface.hatype
 * @param mode    PKTRING_RAW or PKTRING_DGRAM
 * @return the link type, 0 or more; -EOPNOTSUPP when there is none for this hardware; -EINVAL
 *         for another mode. 227 (DLT_CAN_SOCKETCAN) is that of CAN interfaces, but the CAN id at
 *         the start of a captured frame is in the host's byte order: turn it into network byte
 *         order for a capture file
 *
 * May be called from any thread.
 */
int pktring_hardware_linktype(uint16_t hatype, uint32_t mode);

/**
 * Asks the kernel for the geometry of a ring, through sock_diag(7) as ss(8) does.
 *
 * pktring_get_ring() tells the same without a system call; this shows that the kernel agrees.
 * Takes time in proportion to the number of packet sockets on the host.
 *
 * @param handle     an active handle
 * @param direction  PKTRING_RX or PKTRING_TX
 * @param ring       receives the ring; its size field is set
 * @return 0; -EINVAL for another direction, or when the kernel knows no such ring; -EOPNOTSUPP
 *         when the kernel was built without CONFIG_PACKET_DIAG; -EBUSY when the handle is not
 *         active, or the calling thread in another network namespace than when it was
 *         activated; -EFAULT for NULL
 *
 * May be called from any thread.
 */
int pktring_inspect_ring(pktring_t *handle, uint32_t direction, struct pktring_ring *ring);

/**
 * Computes the best ring for a memory budget.
 *
 * The largest power-of-two block size is chosen that leaves at least 16 blocks (at most
 * 4 MiB) for V3 receive rings; slots that just hold the longest frame, in the block size that
 * fits most of them, for all others. This is what the defaults of pktring_set_ring() are made
 * with, too. Nothing is allocated, and no system call is made.
 *
 * @param budget  what to plan for; its size field is set
 * @param ring    receives the ring; its size field is set. Fields block_size and frame_size
 *                that are not zero on entry are kept; the V3 fields are kept as they are.
 * @param errbuf  receives the error text; PKTRING_ERRBUF_SIZE bytes, or NULL
 * @return 0; -EINVAL when the budget does not hold a single block, or a field is out of range;
 *         -EFAULT for NULL; -E2BIG for a longer struct with unknown fields set
 *
 * May be called from any thread.
 */
int pktring_ring_fit(const struct pktring_budget *budget, struct pktring_ring *ring, char *errbuf);

/**
 * Checks a ring against every rule of the kernel and computes its number of slots.
 *
 * The document's conditions under "PACKET_MMAP setting constraints", as far as they hold for
 * today's kernels: what is accepted here, the kernel accepts, memory permitting.
 *
 * @param version    PKTRING_V1, PKTRING_V2 or PKTRING_V3
 * @param direction  PKTRING_RX or PKTRING_TX
 * @param reserve    headroom before each frame in bytes (PACKET_RESERVE), 0 for none
 * @param ring       the ring; block_size, block_count and frame_size must be set. On success
 *                   frame_count is filled in.
 * @param errbuf     receives the error text, which names the field at fault, the rule and the
 *                   nearest valid value; PKTRING_ERRBUF_SIZE bytes, or NULL
 * @return 0, -EINVAL, -EFAULT for NULL, -E2BIG for a longer struct with unknown fields set
 *
 * May be called from any thread.
 */
int pktring_ring_check(uint32_t version, uint32_t direction, uint32_t reserve, struct pktring_ring *ring, char *errbuf);

/**
 * Bytes that a ring takes: block_size times block_count, in 64 bits.
 *
 * @param ring  the ring; NULL is answered with 0
 * @return bytes of kernel memory and of address space. Where the block size is no power of
 *         two, the kernel allocates more.
 */
uint64_t pktring_ring_bytes(const struct pktring_ring *ring);

/**
 * Takes the next frame from the receive ring. Never waits.
 *
 * The frame is the caller's until it is given back with pktring_release(). Frames can be held
 * while others are taken, and be released in any order; but the ring has only so much room, and
 * the kernel fills it in order: behind the oldest frame that is held (V3: the oldest block in
 * which one is held) it drops packets when the rest is full.
 *
 * @param handle  an active handle with a receive ring
 * @param frame   receives the frame; what it holds has no meaning unless the result is 1
 * @return 1: a frame was taken. 0: none is ready; see pktring_wait(). Negative errno value:
 *         - -EBUSY     the caller holds every slot up to the next one; release the oldest
 *         - -EBADMSG   the ring contents cannot be right. The frames concerned are skipped and
 *                      counted as corrupt; the next call goes on behind them
 *         - -EFAULT    handle or frame is NULL
 *         - -EBADF     the handle was opened before this process was forked
 *         - -EBUSY     the handle is not active or has no receive ring
 *
 * One thread at a time may receive from a handle; another one may transmit meanwhile.
 */
PKTRING_HOT_ int pktring_next_frame(pktring_t *handle, struct pktring_frame *frame);

/**
 * Gives a frame back to the kernel. Its memory must not be touched any more.
 *
 * @param handle  the handle that the frame was taken from
 * @param frame   the frame, or a copy of its descriptor
 * @return 0; -EINVAL when the frame is not held: it was released before, or belongs to another
 *         handle. Nothing is changed then. -EFAULT for NULL.
 *
 * For the thread that receives.
 */
PKTRING_HOT_ int pktring_release(pktring_t *handle, const struct pktring_frame *frame);

/**
 * Takes up to max frames at once. Never waits.
 *
 * The same as that many calls of pktring_next_frame(), which on a large ring are as fast:
 * useful where frames are handed on in groups.
 *
 * @param handle  an active handle with a receive ring
 * @param frames  array of max descriptors; the first ones are written
 * @param max     1 to INT_MAX
 * @return number of frames taken; 0: none is ready; negative errno value as from
 *         pktring_next_frame() when not a single one was taken. An error behind frames that
 *         were taken is reported by the next call.
 *
 * For the thread that receives.
 */
int pktring_next_batch(pktring_t *handle, struct pktring_frame *frames, uint32_t max);

/**
 * Gives several frames back.
 *
 * @param handle  the handle that the frames were taken from
 * @param frames  array of count descriptors
 * @param count   0 to INT_MAX
 * @return 0 when all were held; -EINVAL when at least one was not. The others are released all
 *         the same. -EFAULT for NULL.
 *
 * For the thread that receives.
 */
int pktring_release_batch(pktring_t *handle, const struct pktring_frame *frames, uint32_t count);

/**
 * Takes the next whole block of a V3 ring. Never waits.
 *
 * The cheapest way to read: one call for hundreds or thousands of frames, which are then walked
 * with pktring_iter_next(). Blocks without frames are skipped. Blocks can be held while others
 * are taken, and be released in any order; the kernel fills them in order and drops packets
 * when it comes to one that is held.
 *
 * Whole blocks and single frames can be taken in turn, but a block that was begun with
 * pktring_next_frame() has to be read to its end that way.
 *
 * @param handle  an active handle with a V3 receive ring
 * @param block   receives the block; written only when the result is 1
 * @return 1: a block was taken. 0: none is ready. Negative errno value as from
 *         pktring_next_frame(); -EBUSY also when a block was begun frame by frame, or the ring
 *         is not V3.
 *
 * For the thread that receives. In the statistics, the frames of whole blocks count as
 * delivered, without their bytes.
 */
int pktring_next_block(pktring_t *handle, struct pktring_block *block);

/**
 * Gives a block back to the kernel. Its memory must not be touched any more.
 *
 * @param handle  the handle that the block was taken from
 * @param block   the block, or a copy of its descriptor
 * @return 0; -EINVAL when the block is not held: it was released before, or belongs to another
 *         handle. Nothing is changed then. -EFAULT for NULL.
 *
 * For the thread that receives.
 */
int pktring_release_block(pktring_t *handle, const struct pktring_block *block);

/**
 * Tells what is known of the transport checksum of a received frame.
 *
 * @param frame  a frame from this library
 * @return PKTRING_CHECKSUM_UNKNOWN, PKTRING_CHECKSUM_VALID or PKTRING_CHECKSUM_PENDING;
 *         PKTRING_CHECKSUM_UNKNOWN for NULL
 *
 * May be called from any thread. PKTRING_STATUS_CSUM_VALID came with Linux 4.1; before, such
 * frames are PKTRING_CHECKSUM_UNKNOWN.
 */
uint32_t pktring_checksum(const struct pktring_frame *frame);

/**
 * Says what an answer of pktring_checksum() means, for people.
 *
 * @param checksum  PKTRING_CHECKSUM_*
 * @return "not checked", "valid", "not computed yet", or "unknown value" for other numbers; a
 *         constant string
 */
const char *pktring_checksum_name(uint32_t checksum);

/**
 * Reads the virtio_net header of a received frame: how its checksum and segmentation are left.
 *
 * @param handle  a handle that was activated with pktring_set_vnet_header()
 * @param frame   a frame that is held, of pktring_next_frame() or of a whole block
 * @param vnet    receives the header
 * @return 0; -EINVAL when the frame is not held; -EBUSY when the handle is not active or has no
 *         such headers; -EFAULT for NULL
 *
 * For the thread that receives.
 */
int pktring_frame_vnet(pktring_t *handle, const struct pktring_frame *frame, struct pktring_vnet *vnet);

/**
 * Puts the VLAN tag back into a received frame that the kernel took off, in place.
 *
 * The 12 bytes of hardware addresses move into the headroom, the tag follows them, and the
 * payload stays where it is: nothing else is copied. Of frames with two tags (QinQ) the kernel
 * takes the outer one off, which then comes to stand before the inner one. The descriptor is
 * updated: data is 4 bytes further to the front, caplen and len are 4 more, the VLAN bits of
 * status are gone. An Ethernet frame always has room in front; others may need
 * pktring_set_reserve().
 *
 * Costs nothing where it is not called. Other copies of the descriptor are out of date
 * afterwards; passing one here brings it up to date.
 *
 * @param handle  the handle that the frame was taken from
 * @param frame   a frame that is held, of pktring_next_frame() or of a whole block; changed
 * @return 1: the tag is back in the frame. 0: there was none to put back. Negative errno value,
 *         with nothing changed:
 *         - -EOPNOTSUPP  the ring is V1, which loses the tag, or frames have no link-level
 *                        header (PKTRING_DGRAM); or the frame was cut before the tag's place
 *         - -EINVAL      the frame is not held
 *         - -EBUSY       the handle is not active
 *         - -EFAULT      handle or frame is NULL
 *
 * For the thread that receives.
 */
int pktring_vlan_reinsert(pktring_t *handle, struct pktring_frame *frame);

/**
 * Fetches the whole packet that a frame was cut from.
 *
 * For frames with PKTRING_STATUS_COPY, which a handle with pktring_set_copies() receives when a
 * slot is too small. Each copy can be fetched once. Copies wait in the order of their frames;
 * fetching one throws those away that belong to frames passed over, which also makes room for
 * new ones.
 *
 * The copy is what the kernel has: without the VLAN tag that it took off, with the link-level
 * header (PKTRING_RAW), without virtio_net header.
 *
 * @param handle    the handle that the frame was taken from
 * @param frame     a frame that is held
 * @param buffer    receives the packet; undefined on failure
 * @param capacity  bytes at buffer; pktring_frame.len are needed
 * @return length of the packet. Negative errno value:
 *         - -ENODATA   there is no copy: the frame was not cut, copies were off, the receive
 *                      buffer (pktring_set_buffer()) was full, or the copy was fetched before
 *         - -EAGAIN    the copy of a later frame comes first. Either this one was fetched before,
 *                      or several processors received at once and queued the two the other way
 *                      round: then fetch the later one first
 *         - -EMSGSIZE  the buffer is too small; the text names the length. Nothing is lost.
 *         - -EINVAL    the frame is not held
 *         - -EBUSY     the handle is not active
 *         - -EFAULT    handle, frame or buffer is NULL
 *
 * For the thread that receives.
 */
int pktring_copy_whole(pktring_t *handle, const struct pktring_frame *frame, void *buffer, size_t capacity);

/**
 * Makes the receive ring anew: for one that the kernel got stuck with.
 *
 * With pktring_set_vnet_header() and a V1 or V2 ring, one packet whose segmentation the header
 * cannot express stops the kernel for ever: it drops every packet from then on, and counts it.
 * pktring_wait(), pktring_dispatch() and pktring_loop() notice, because packets are dropped while
 * the ring is empty. Where the caller holds no frame and the handle has no transmit ring, they
 * make the ring anew by themselves and go on; elsewhere they return -ESTALE, and this is to be
 * called.
 *
 * The ring stays at the same address. Frames that are in it unread are lost; the transmit ring
 * keeps what it has.
 *
 * @param handle  an active handle with a receive ring
 * @return 0; -EBUSY when frames are held, or when the handle is not active or has no receive
 *         ring; -ENOMEM when the kernel has no memory for a new ring (try again); -EFAULT when
 *         handle is NULL
 *
 * No other thread may be in a call with this handle, transmission included.
 */
int pktring_recover(pktring_t *handle);

/**
 * Waits until something can be received or transmitted.
 *
 * Whether it can is decided by the ring alone: as long as it can, the call returns at once; a
 * frame that is held does not count. Unlike libpcap's, the timeout is one: on an idle link the
 * call returns 0 when it has passed. A signal does not end the wait (its handler can, with
 * pktring_breakloop()).
 *
 * @param handle      an active handle
 * @param events      PKTRING_RX: a frame can be taken; PKTRING_TX: a slot can be reserved; or
 *                    both
 * @param timeout_ms  milliseconds to wait at most; 0: only look; negative: without limit
 * @return the events that are there; 0: the time has passed; negative errno value:
 *         - -ECANCELED  pktring_breakloop() was called; reported once
 *         - -ENETDOWN   the interface went down; reported once, behind what was received before,
 *                       except where timeout_ms is 0. Waiting again is right: the handle resumes
 *                       when it comes up
 *         - -ENODEV     the interface was removed or moved to another network namespace, and
 *                       everything received before has been taken. Can come after -ENETDOWN
 *         - -EBUSY      the caller holds every slot up to the next one, so nothing can arrive
 *                       until it releases the oldest; or the handle is not active or has no
 *                       such ring
 *         - -ESHUTDOWN  another thread closes the handle
 *         - -ESTALE     the kernel is stuck with the receive ring; see pktring_recover()
 *         - -EINVAL     events is 0 or has unknown bits
 *
 * One thread may wait for PKTRING_RX while another waits for PKTRING_TX.
 */
int pktring_wait(pktring_t *handle, uint32_t events, int timeout_ms);

/**
 * The packet socket, for poll(2), select(2) and epoll(7), and for socket options that this
 * library does not have.
 *
 * Readiness of the descriptor is a hint, not a promise, as the kernel has it: it is readable
 * while the newest slot is not empty, even if the caller holds it, and not readable when the
 * newest was released before older ones were read. So: take frames with pktring_next_frame()
 * until it returns 0, and wait edge-triggered (EPOLLET) where frames are held for long.
 * pktring_breakloop() does not show here.
 *
 * When the interface goes down the descriptor reports POLLERR, again and again, until
 * pktring_wait() or pktring_dispatch() has taken the error from it, be it with a timeout of 0, and
 * returned -ENETDOWN; pktring_next_frame() does not look. So: with POLLERR call pktring_wait(), or
 * use pktring_dispatch() for everything. The kernel does not announce that an interface which is
 * down is removed: after -ENETDOWN call pktring_wait() with a timeout of 0 now and then, which
 * returns -ENODEV when it is gone.
 *
 * @param handle  an active handle
 * @return the descriptor, which belongs to the handle and must not be closed (except in a child,
 *         see pktring_open()) or read from; -EBUSY when the handle is not active; -EFAULT when
 *         handle is NULL
 *
 * May be called from any thread.
 */
int pktring_fd(pktring_t *handle);

/**
 * Makes the current or the next pktring_wait(), pktring_dispatch(), pktring_loop() or
 * pktring_tx_flush() of the handle return -ECANCELED.
 *
 * The request is never lost, whenever it comes, and is reported once, to the first of these
 * calls that has nothing else to report; several requests before that count as one.
 *
 * @param handle  the handle; NULL is allowed and does nothing
 *
 * May be called from any thread and from signal handlers.
 */
void pktring_breakloop(pktring_t *handle);

/**
 * Hands the frames that are ready to a callback; waits for the first one if there is none.
 *
 * Every frame is released when the callback returns. Like libpcap's pcap_dispatch(), but the
 * timeout is one, and breakloop is reported in every case.
 *
 * @param handle      an active handle with a receive ring
 * @param count       frames to hand over at most; 0 or negative: all that are ready, those that
 *                    come meanwhile included, so that it returns when the ring is empty
 * @param timeout_ms  milliseconds to wait for the first frame; 0: do not wait; negative:
 *                    without limit
 * @param callback    called for every frame, on this thread
 * @param user        passed to the callback
 * @return number of frames handed over; 0: the time has passed; negative errno value as from
 *         pktring_wait() and pktring_next_frame(). What goes wrong behind frames that were
 *         handed over, and a breakloop during them, is reported by the next call.
 *
 * For the thread that receives. The callback may call any function with this handle except
 * those that receive, and pktring_close(): this one, pktring_loop() and pktring_close() return
 * -EBUSY there.
 */
int pktring_dispatch(pktring_t *handle, int count, int timeout_ms, pktring_handler callback, void *user);

/**
 * Hands frames to a callback until count have been handed over or something ends it.
 *
 * @param handle    an active handle with a receive ring
 * @param count     frames to hand over; 0 or negative: without limit
 * @param callback  called for every frame, on this thread; the frame is released afterwards
 * @param user      passed to the callback
 * @return 0 when count frames have been handed over; -ECANCELED after pktring_breakloop();
 *         another negative errno value as from pktring_wait() and pktring_next_frame()
 *
 * For the thread that receives, with the same rules as for pktring_dispatch().
 */
int pktring_loop(pktring_t *handle, int count, pktring_handler callback, void *user);

/**
 * Takes a free slot of the transmit ring to write a frame into. Never waits.
 *
 * Several slots can be reserved before the first is committed, and they can be committed in any
 * order; frames are sent in the order of their reservation. A reservation that is left open
 * holds up those behind it.
 *
 * @param handle  an active handle with a transmit ring
 * @param slot    receives the reservation; written only when the result is 1
 * @return 1: a slot was reserved. 0: the ring is full; see pktring_tx_flush() and
 *         pktring_wait(). -EBUSY: the handle is not active or has no transmit ring. -EFAULT for
 *         NULL.
 *
 * One thread at a time may transmit with a handle; another one may receive meanwhile.
 */
int pktring_tx_reserve(pktring_t *handle, struct pktring_slot *slot);

/**
 * Says that the frame in a reserved slot is complete. It is handed to the kernel as soon as
 * those reserved before it are, and sent by the next pktring_tx_flush().
 *
 * The slot's memory must not be written to any more: the kernel may send straight from it.
 *
 * @param handle  the handle that the slot was reserved from
 * @param slot    the reservation, with user_data (and offset) set as wanted
 * @param length  bytes of the frame. PKTRING_RAW: at least the link-level header, 14 for
 *                Ethernet; at most the interface's MTU and link-level header, and 4 more for a
 *                frame with a VLAN tag. PKTRING_DGRAM: 0 up to the MTU. The kernel does not pad.
 * @return 0. Negative errno value, with the reservation still open:
 *         - -EMSGSIZE  the length is out of range; the text names the range
 *         - -EINVAL    the slot is not reserved: it was committed or aborted before, or belongs
 *                      to another handle; or offset is set on a handle that does not place
 *                      frames freely
 *         - -EBUSY     the handle is not active or has no transmit ring
 *         - -EFAULT    handle or slot is NULL
 *
 * For the thread that transmits.
 */
int pktring_tx_commit(pktring_t *handle, const struct pktring_slot *slot, uint32_t length);

/**
 * Gives a reserved slot back without sending anything.
 *
 * @param handle  the handle that the slot was reserved from
 * @param slot    the reservation
 * @return 0; -EINVAL when the slot is not reserved; -EBUSY when the handle is not active or has
 *         no transmit ring; -EFAULT for NULL
 *
 * For the thread that transmits.
 */
int pktring_tx_abort(pktring_t *handle, const struct pktring_slot *slot);

/**
 * Has the kernel send what was committed, and waits until it has, if asked to.
 *
 * One system call sends as many frames as there are; batches of 32 and more are worth it. A
 * frame that the kernel refuses (after the MTU was lowered, say) is taken out of the ring and
 * told by pktring_tx_complete(); those behind it are sent all the same.
 *
 * @param handle      an active handle with a transmit ring
 * @param timeout_ms  0: hand the frames to the kernel and return; positive: also wait until all
 *                    are sent, for at most so many milliseconds; negative: without limit
 * @return number of frames that are still in flight: 0 when everything committed was sent or
 *         refused. Negative errno value, with the frames kept in the ring:
 *         - -EAGAIN     the queue of the interface is full; call again
 *         - -ENETDOWN   the interface is down; call again when it is up
 *         - -ENODEV     the interface is gone, or a handle on all interfaces was told of none, see
 *                       pktring_set_destination()
 *         - -ECANCELED  pktring_breakloop() was called; reported once
 *         - -ESHUTDOWN  another thread closes the handle
 *         - -EBUSY      the handle is not active or has no transmit ring
 *         - -EFAULT     handle is NULL
 *
 * For the thread that transmits.
 */
int pktring_tx_flush(pktring_t *handle, int timeout_ms);

/**
 * Tells what became of frames that were committed: each once, in the order of their
 * reservation. Never waits.
 *
 * Programs that do not care need not call it: when a slot is reserved and no room for
 * completions is left, the oldest is forgotten. pktring_stats() counts them all.
 *
 * @param handle       an active handle with a transmit ring
 * @param completions  array of max elements; the first ones are written
 * @param max          1 to INT_MAX
 * @return number of completions written; 0: none is there; -EBUSY when the handle is not
 *         active or has no transmit ring; -EFAULT for NULL
 *
 * For the thread that transmits.
 */
int pktring_tx_complete(pktring_t *handle, struct pktring_completion *completions, uint32_t max);

/**
 * Sets where frames go that do not carry a link-level header themselves.
 *
 * Needed to transmit with PKTRING_DGRAM, whose frames get their link-level header from it, and
 * to transmit with a handle for all interfaces. It holds for the frames sent from now on. Without
 * it the former are refused with -EINVAL, and the latter are not sent, with -ENODEV.
 *
 * @param handle   the handle, active or not
 * @param address  protocol (network byte order), hardware address with its length, and the
 *                 interface index (0: that of the handle); the other fields are ignored. Copied.
 *                 NULL removes it.
 * @return 0; -EINVAL when halen is more than 8; -EFAULT when handle is NULL
 *
 * For the thread that transmits.
 */
int pktring_set_destination(pktring_t *handle, const struct pktring_addr *address);

/**
 * Sends one frame: the counterpart of pcap_inject().
 *
 * On a handle without a transmit ring it is one send(2), and so it is with PKTRING_TX_METHOD_COPY,
 * once what was committed before is sent. On a ring of the kernel's it goes into the ring behind
 * what was committed, and the ring is flushed; it is among the completions then, with user_data 0,
 * and counts as sent although it may still wait in the ring for room in the send buffer or queue.
 *
 * @param handle  an active handle; a receive ring is enough
 * @param frame   the frame, with its link-level header (PKTRING_RAW); copied
 * @param length  bytes of the frame, as for pktring_tx_commit()
 * @return length. Negative errno value when the frame was not sent:
 *         - -EAGAIN    the queue, the send buffer or the ring is full; try again
 *         - -EMSGSIZE  the length is out of range
 *         - -EINVAL    the frame has no link-level header (PKTRING_DGRAM) and no destination
 *         - -ENETDOWN  the interface is down
 *         - -ENODEV    the interface is gone, or a handle on all interfaces was told of none, see
 *                      pktring_set_destination()
 *         - -EBUSY     the handle is not active, or a reservation of its ring is open
 *         - -EFAULT    handle or frame is NULL
 *
 * For the thread that transmits. The handle itself does not receive the frame.
 */
int pktring_inject(pktring_t *handle, const void *frame, size_t length);

/**
 * Sends several frames, in order, with one system call for every 64 of them (sendmmsg(2)) on a
 * handle without a transmit ring or with PKTRING_TX_METHOD_COPY. On a ring of the kernel's they go
 * into the ring as for pktring_inject(), with one system call for as many as there are free slots.
 *
 * @param handle  an active handle; a receive ring is enough
 * @param frames  array of count frames; an array of struct iovec will do, cast
 * @param count   0 to INT_MAX
 * @return number of frames sent. Fewer than count when one could not be sent; when that was the
 *         first, the negative errno value that pktring_inject() gives for it.
 *
 * For the thread that transmits.
 */
int pktring_inject_batch(pktring_t *handle, const struct pktring_buffer *frames, uint32_t count);

/**
 * Sends several frames, in order, UDP datagrams of one flow with one system call for up to 64 of
 * them (UDP segmentation offload, Linux 6.2).
 *
 * Frames that follow each other and have the same headers and the same length, the last of them
 * perhaps less, go through the kernel as one, which is cut at the very end or by the NIC: the
 * cheapest way to put many small datagrams on the wire. Nothing is copied but the headers. The
 * kernel writes lengths, checksums and IPv4 identifications anew; frames that cannot be joined
 * with their neighbours are sent as they are, one by one, checksums included.
 *
 * UDP over IPv4 or IPv6 (without extension headers), with up to two VLAN tags.
 *
 * @param handle  an active handle with pktring_set_vnet_header(); a receive ring is enough. With
 *                a transmit ring of the kernel's, as many are joined as a slot holds: choose
 *                pktring_ring.frame_size accordingly, up to 65600.
 * @param frames  array of count whole frames without virtio_net header
 * @param count   0 to INT_MAX
 * @return number of frames sent. Fewer than count when the kernel did not take one; when that
 *         was the first, a negative errno value: those of pktring_inject(), and
 *         - -EBUSY     the handle has no virtio_net headers
 *         - -EMSGSIZE  the datagrams are longer than the interface's MTU
 *         - -EOPNOTSUPP frames were joined, and the kernel is older than Linux 6.2
 *
 * For the thread that transmits. Needs pktring_set_qdisc_bypass() off.
 */
int pktring_inject_gso(pktring_t *handle, const struct pktring_buffer *frames, uint32_t count);

/**
 * Sends one long UDP frame as many datagrams of equal length (UDP segmentation offload, Linux
 * 6.2): the same as pktring_inject_gso() for a payload that lies in one piece.
 *
 * @param handle   an active handle with pktring_set_vnet_header()
 * @param frame    link-level, IP and UDP header, then the payload of all datagrams. Lengths and
 *                 checksums in the headers need not be filled in.
 * @param length   bytes of the frame; the payload may be longer than 64 KiB
 * @param segment  payload bytes of each datagram; the last one may get less
 * @return number of datagrams sent; fewer than there are when the kernel took only the first
 *         part. Negative errno value when nothing was sent, as from pktring_inject_gso();
 *         -EINVAL also when the frame is no UDP datagram, and for a segment of 0
 *
 * For the thread that transmits. Needs pktring_set_qdisc_bypass() off.
 */
int pktring_inject_segments(pktring_t *handle, const void *frame, size_t length, uint32_t segment);

/**
 * Completes a long UDP frame in a slot of the transmit ring, so that the kernel cuts it into
 * datagrams of equal length (UDP segmentation offload, Linux 6.2).
 *
 * Writes the virtio_net header at the start of the slot, and the lengths and checksums that it
 * wants into the IP and UDP header behind it. Then pktring_tx_commit() with the same length.
 *
 * @param handle   an active handle with pktring_set_vnet_header()
 * @param data     pktring_slot.data: room for the virtio_net header (10 or 12 bytes, as set),
 *                 then link-level, IP and UDP header and the payload of all datagrams
 * @param length   bytes at data, virtio_net header included
 * @param segment  payload bytes of each datagram; the last one may get less
 * @return 0. Negative errno value: -EINVAL when the frame is no UDP datagram, would make more
 *         than PKTRING_SEGMENTS_MAX of them or an IP packet beyond 65535 bytes, and for a segment
 *         of 0; -EMSGSIZE when the datagrams are longer than the MTU; -EBUSY when the handle is
 *         not active or has no virtio_net headers; -EFAULT for NULL. Before Linux 6.2 the frame
 *         completes with -EINVAL.
 *
 * For the thread that transmits.
 */
int pktring_prepare_segments(pktring_t *handle, void *data, uint32_t length, uint32_t segment);

/**
 * Has the interface let in frames that are addressed to others (PACKET_ADD_MEMBERSHIP).
 *
 * Interfaces filter by destination address in hardware where they can. A membership widens that
 * filter; it selects nothing by itself, and where the hardware does not filter it changes
 * nothing. The same one can be had several times, by this and by other handles and programs: the
 * interface goes back when the last one is dropped. All memberships of a handle end with it,
 * whatever happens to the program.
 *
 * @param handle   a handle for one interface. Before pktring_activate() the membership is noted
 *                 and comes into force there; later it does at once.
 * @param kind     PKTRING_MEMBERSHIP_MULTICAST, _PROMISC, _ALLMULTI or _UNICAST
 * @param address  the address, for MULTICAST and UNICAST; otherwise NULL
 * @param length   its bytes, which is 6 on Ethernet; otherwise 0
 * @return 0; -EINVAL for another type, for an address where none belongs, for one of the wrong
 *         length, and for a handle on all interfaces; -ENODEV when the interface is gone;
 *         -EFAULT when handle, or address with a length, is NULL
 *
 * May be called from any thread.
 */
int pktring_add_membership(pktring_t *handle, uint32_t kind, const uint8_t *address, uint32_t length);

/**
 * Takes back one pktring_add_membership() (PACKET_DROP_MEMBERSHIP).
 *
 * @param handle   the handle that the membership was added to
 * @param kind     as it was added
 * @param address  as it was added
 * @param length   as it was added
 * @return 0; -EINVAL when the handle has no such membership, and for arguments that
 *         pktring_add_membership() would refuse; -EFAULT as there
 *
 * May be called from any thread.
 */
int pktring_drop_membership(pktring_t *handle, uint32_t kind, const uint8_t *address, uint32_t length);

/**
 * Sets the filter from the text that "tcpdump -ddd" prints.
 *
 * The same as pktring_parse_filter() and pktring_set_filter() in turn. Have tcpdump compile for
 * the link type of the handle: "tcpdump -ddd -i eth0 ...", which takes that of the interface, or
 * "tcpdump -ddd -y EN10MB ..." for Ethernet (RAW with PKTRING_DGRAM). The kernel takes VLAN tags
 * off before the filter runs; only with -i does tcpdump know that, and "vlan" find them.
 *
 * @param handle  the handle
 * @param text    the text
 * @return 0; -EINVAL when the text is no program, with its line in pktring_geterr(), and as
 *         pktring_set_filter(); -EBUSY when the filter is locked; -EFAULT when handle or text
 *         is NULL
 *
 * On an active handle for the thread that receives.
 */
int pktring_set_filter_text(pktring_t *handle, const char *text);

/**
 * Reads a filter from the text that "tcpdump -ddd" prints: the number of instructions, then one
 * instruction a line as four decimal numbers. Commas instead of line ends are taken as well.
 *
 * @param text     the text
 * @param program  receives the instructions; NULL with max 0 only counts them
 * @param max      room in program
 * @param errbuf   receives the error text, which names the line at fault; PKTRING_ERRBUF_SIZE
 *                 bytes, or NULL
 * @return the number of instructions, 1 to 4096; -EINVAL when the text is no program; -ENOSPC
 *         when there are more than max, unless max is 0; -EFAULT when text, or program with
 *         room, is NULL. Nothing is written to program then.
 *
 * May be called from any thread.
 */
int pktring_parse_filter(const char *text, struct pktring_insn *program, uint32_t max, char *errbuf);

/**
 * Sets an eBPF program as filter (SO_ATTACH_BPF, Linux 3.19).
 *
 * The program is of type BPF_PROG_TYPE_SOCKET_FILTER, loaded by bpf(2) or libbpf. It returns the
 * bytes to keep of a packet, 0 to drop it, so that it does not go with a snaplen; nor does it
 * with pktring_set_direction(), since it finds the direction in pkt_type itself. It takes the
 * place of a filter set by pktring_set_filter(), and the other way round.
 *
 * On an active handle it holds what pktring_set_filter() promises: no frame that it rejects is
 * delivered after the call, and none that both filters accept is lost. Frames that are in the ring
 * already are asked about by having the kernel run the program over them (BPF_PROG_TEST_RUN,
 * Linux 4.12) when they are read, for about two microseconds each. That run differs from the one
 * on arrival:
 * - it comes in addition, so that what the program counts in its maps is counted again, and once
 *   more for a frame of 60 zero bytes, by which the call finds out whether it is allowed;
 * - of struct __sk_buff it has len, protocol, pkt_type, ifindex, ingress_ifindex and the bytes.
 *   A frame that this host sent never has pkt_type PACKET_OUTGOING; VLAN tag, mark, priority,
 *   queue_mapping, hash, napi_id and tstamp are 0;
 * - ifindex is that of the loopback interface with PKTRING_DGRAM, on interfaces without Ethernet
 *   header, with pktring_set_netns(), and before Linux 5.11;
 * - a frame that the ring has not kept whole, or of more than some 3.5 KiB, cannot be asked
 *   about, and is dropped if it came before the call.
 *
 * A program that decides by one of these is better set before pktring_activate(), and can still
 * change what it accepts through its maps.
 *
 * @param handle  the handle
 * @param fd      descriptor of the program; it may be closed after the call. -1 removes the
 *                filter
 * @return 0; -EINVAL when fd is no open descriptor; -EFAULT when handle is NULL. On an active
 *         handle, and otherwise from pktring_activate(): -EINVAL when it is not such a program, or
 *         does not go with other settings, and -EOPNOTSUPP before Linux 3.19. On an active handle
 *         also -EBUSY where the kernel does not run the program over frames (before Linux 4.12,
 *         by seccomp, and before Linux 5.19 without CAP_BPF where
 *         sysctl kernel.unprivileged_bpf_disabled is not 0), and when the filter is locked. The
 *         old filter stays when an error is returned.
 *
 * On an active handle for the thread that receives.
 */
int pktring_set_bpf(pktring_t *handle, int fd);

/**
 * Chooses between what arrives and what this host sends, in the kernel.
 *
 * The choice is made by instructions in front of the filter. Frames that this very handle sends
 * are never received; a handle for one protocol, see pktring_set_protocol(), receives nothing
 * that is sent. On the loopback interface every packet passes both ways.
 *
 * @param handle     the handle
 * @param direction  PKTRING_DIRECTION_BOTH (default), PKTRING_DIRECTION_IN or
 *                   PKTRING_DIRECTION_OUT
 * @return 0; -EINVAL for another value, and with an eBPF filter; otherwise as
 *         pktring_set_filter(), whose promises on frames in the ring hold here as well
 *
 * On an active handle for the thread that receives.
 */
int pktring_set_direction(pktring_t *handle, uint32_t direction);

/**
 * Has the handle keep its filter for good (SO_LOCK_FILTER, Linux 3.9), so that a program which
 * gives up its privileges cannot be made to receive more.
 *
 * Everything that changes the filter, pktring_set_direction() and the program of a fanout group
 * included, returns -EBUSY from then on. There is no way back but to close the handle.
 *
 * @param handle  a handle. Before pktring_activate() the lock is noted and put on there, as the
 *                last step; the filter can be changed until then.
 * @return 0; -EOPNOTSUPP before Linux 3.9; -EFAULT when handle is NULL
 *
 * May be called from any thread.
 */
int pktring_lock_filter(pktring_t *handle);

/**
 * Chooses where timestamps come from (PACKET_TIMESTAMP, SO_TIMESTAMPING).
 *
 * Received frames: without a source, the time is that at which the frame was put into the ring.
 * PKTRING_TIMESTAMP_SOFTWARE has the kernel stamp every packet where it enters the stack, before
 * it can wait in a queue; this costs all packets of the host some time while any program asks
 * for it, and programs that do not ask see these stamps then, too. PKTRING_TIMESTAMP_HARDWARE
 * takes the NIC's stamp where there is one, see pktring_set_hwtstamp(). With both, hardware is
 * preferred. Every frame tells its source: PKTRING_STATUS_TS_RAW_HARDWARE,
 * PKTRING_STATUS_TS_SOFTWARE, or neither for the time at the ring. A change applies to frames
 * that arrive from then on; the first of them may still lack a software stamp.
 *
 * Sent frames: without a source, pktring_completion.timestamp is 0. PKTRING_TIMESTAMP_SOFTWARE
 * asks the driver to stamp a frame when it hands it to the hardware, PKTRING_TIMESTAMP_HARDWARE
 * asks the NIC. The stamp comes back through the ring or, from most drivers, through the socket's
 * error queue, and is told with the completion of its frame. A driver that does not stamp leaves
 * it 0, as do rare errors after which the kernel's numbering of frames is in doubt: a stamp is
 * never told for another frame. While it is on, the kernel is handed at most 64 frames at a time,
 * so that its error queue does not overflow, and each frame costs one more system call. Until
 * pktring_tx_flush() or pktring_tx_complete() has collected the stamps, poll(2) on pktring_fd()
 * reports POLLERR.
 *
 * Software stamps of both directions are of one clock, the time of day. Hardware stamps are of
 * the NIC's clock in both directions; whether that runs with the time of day is up to the
 * program that steers it (phc2sys, for example).
 *
 * @param handle     PKTRING_RX: a handle in any state. PKTRING_TX: one that is not active.
 * @param direction  PKTRING_RX or PKTRING_TX
 * @param sources    PKTRING_TIMESTAMP_* bits; 0: the default
 * @return 0; -EINVAL for another direction or unknown bits; -EBUSY for PKTRING_TX when active;
 *         -EFAULT when handle is NULL. For PKTRING_TX, pktring_activate() then returns -EINVAL
 *         when the handle has no transmit ring or pktring_set_loss() was set, which leaves frames
 *         that were not sent uncounted.
 *
 * May be called from any thread.
 */
int pktring_set_timestamp(pktring_t *handle, uint32_t direction, uint32_t sources);

/**
 * Has the NIC take timestamps (SIOCSHWTSTAMP).
 *
 * The setting is the NIC's: it holds for all programs, and outlives the handle. Not every NIC
 * can: "ethtool -T" tells what one can do. CAP_NET_ADMIN is needed.
 *
 * @param handle  an active handle for one interface
 * @param wanted  what to do; on return, what the NIC really does, which may be more
 * @return 0; -EOPNOTSUPP when the NIC takes no timestamps; -ERANGE when it takes none of this
 *         kind; -EPERM without CAP_NET_ADMIN; -EBUSY when the handle is not active; -EINVAL for
 *         a value that linux/net_tstamp.h does not have, and for a handle on all interfaces;
 *         -ENODEV when the interface is gone; -E2BIG for a longer struct with unknown fields
 *         set; -EFAULT for NULL
 *
 * May be called from any thread.
 */
int pktring_set_hwtstamp(pktring_t *handle, struct pktring_hwtstamp *wanted);

/**
 * Tells how the NIC takes timestamps (SIOCGHWTSTAMP, Linux 3.14).
 *
 * @param handle  an active handle for one interface
 * @param now     receives the setting; set its size field to sizeof(struct pktring_hwtstamp)
 * @return 0; -EOPNOTSUPP when the NIC takes no timestamps or does not tell; otherwise as
 *         pktring_set_hwtstamp()
 *
 * May be called from any thread.
 */
int pktring_get_hwtstamp(pktring_t *handle, struct pktring_hwtstamp *now);

/**
 * Makes the handle a member of a fanout group when it is activated (PACKET_FANOUT).
 *
 * Each packet that the interface receives goes to one member of the group. All members must
 * agree on mode, flags, max_members, protocol and interface. A member receives nothing before
 * it has joined; where several are opened in turn, the first ones receive the packets of those
 * still missing until then: pktring_group_open() does it all at once.
 *
 * A member leaves when its handle is closed. The group then shares among those that are left,
 * so that modes which compute the member move flows to other ones.
 *
 * The group is bound to its interface for good: when that is removed, close the handles and
 * open new ones. In a group, PKTRING_FANOUT_FLAG_IGNORE_OUTGOING takes the place of the
 * socket's own option of that name, which the kernel does not heed there and which is refused.
 *
 * @param handle  a handle that is not active
 * @param fanout  the group; NULL: none (default)
 * @return 0; -EINVAL for an unknown mode or flag, a group above 65535 or not 0 with
 *         PKTRING_FANOUT_FLAG_UNIQUEID, more than 65536 members, or flag ROLLOVER with mode
 *         ROLLOVER; -EBUSY when active; -E2BIG for a longer struct with unknown fields set;
 *         -EFAULT when handle is NULL
 *
 * pktring_activate() then returns -EINVAL when the group exists with other settings or the
 * handle has no receive ring, -ENOSPC when the group is full or no number is free, and
 * -EOPNOTSUPP when the kernel is older than the mode or flag.
 */
int pktring_set_fanout(pktring_t *handle, const struct pktring_fanout *fanout);

/**
 * Reads back the fanout group of an active handle, as the kernel has it.
 *
 * @param handle  an active handle that is a member of a group
 * @param fanout  receives the group, with the number that the kernel chose for
 *                PKTRING_FANOUT_FLAG_UNIQUEID and without that flag; its size field is set.
 *                max_members is what was asked for: the kernel does not tell
 * @return 0; -EINVAL when the handle is in no group; -EBUSY when it is not active; -EFAULT for
 *         NULL
 *
 * May be called from any thread.
 */
int pktring_get_fanout(pktring_t *handle, struct pktring_fanout *fanout);

/**
 * Sets the classic BPF program of a group with mode PKTRING_FANOUT_CBPF (PACKET_FANOUT_DATA).
 *
 * The program sees each packet from its network header on. What it returns, modulo the number
 * of members, is the member that gets the packet; members are numbered from 0 in the order in
 * which they joined. Without a program, member 0 gets everything.
 *
 * The program is the group's: the one set last through any member is in force, from one packet
 * to the next. To select packets is the filter's matter.
 *
 * @param handle   a handle. Before pktring_activate() the program is noted and set there, before
 *                 the first packet; later it is set at once.
 * @param program  the instructions, copied
 * @param count    number of instructions, 1 to 4096
 * @return 0; -EINVAL when the kernel's checker refuses the program, or when the handle is
 *         active and in no group of that mode; -EBUSY when its filter is locked; -EFAULT when
 *         handle or program is NULL
 *
 * May be called from any thread.
 */
int pktring_set_fanout_program(pktring_t *handle, const struct pktring_insn *program, uint32_t count);

/**
 * Sets the eBPF program of a group with mode PKTRING_FANOUT_EBPF (PACKET_FANOUT_DATA).
 *
 * The same as pktring_set_fanout_program(), with a program of type
 * BPF_PROG_TYPE_SOCKET_FILTER that bpf(2) or libbpf has loaded.
 *
 * @param handle  a handle. Before pktring_activate() the program is noted and set there, before
 *                the first packet; later it is set at once.
 * @param fd      descriptor of the program; it may be closed after the call
 * @return 0; -EINVAL when fd is no open descriptor, is found not to be such a program, or when
 *         the handle is active and in no group of that mode; -EBUSY when its filter is locked;
 *         -EFAULT when handle is NULL. Whether fd is such a program is found out when it is set.
 *
 * May be called from any thread.
 */
int pktring_set_fanout_bpf(pktring_t *handle, int fd);

/**
 * Reads what a group that rolls over did with packets meant for this member
 * (PACKET_ROLLOVER_STATS, Linux 4.2). The counters are 64 bits wide and never reset.
 *
 * @param handle  an active handle in a group with mode ROLLOVER or flag ROLLOVER
 * @param stats   receives the counters; set its size field to sizeof(struct
 *                pktring_fanout_stats)
 * @return 0; -EINVAL when the handle is in no such group; -EBUSY when it is not active;
 *         -EOPNOTSUPP before Linux 4.2; -EFAULT for NULL
 *
 * May be called from any thread.
 */
int pktring_fanout_stats(pktring_t *handle, struct pktring_fanout_stats *stats);

/**
 * Opens all members of a fanout group at once.
 *
 * Every member is an active handle with the settings of a template. None receives anything
 * before all have joined, so that no member ever sees a packet that the complete group would
 * have given to another one: that is what joining one by one cannot do. Members are numbered as
 * in the array, unless the group existed before.
 *
 * @param settings  a handle that is not active, set up like every member is to be. Where no
 *                   pktring_set_fanout() named a group, the kernel chooses its number and the
 *                   mode is PKTRING_FANOUT_HASH. It is not changed, does not become a member,
 *                   and can be closed or used again afterwards.
 * @param members    receives count handles. Each is an ordinary handle of its own, for one
 *                   thread each, and is closed with pktring_close(), or all of them with
 *                   pktring_group_close().
 * @param count      1 to 65536; above 256 the group's max_members has to be set
 * @return 0; negative errno value as from pktring_activate(), with the text in
 *         pktring_geterr(settings); -EBUSY also when the template is active. No member is left
 *         open then, and the array is not changed.
 */
int pktring_group_open(pktring_t *settings, pktring_t **members, uint32_t count);

/**
 * Closes several handles, as pktring_close() does one, and sets their places in the array to
 * NULL.
 *
 * @param members  array of count handles; NULL entries are skipped
 * @param count    number of entries
 * @return the sum of what pktring_close() returned for those that it closed; where it refused
 *         one, that entry stays and the negative errno value is returned after all others were
 *         closed; -EFAULT when members is NULL and count is not 0
 */
int pktring_group_close(pktring_t **members, uint32_t count);

/**
 * Reads the counters of a handle.
 *
 * The kernel's own counters are 32 bits wide and reset by every read; they are added up here,
 * so that calls from several threads lose and double nothing. What nobody can tell is that they ran
 * over between two reads: ask before 2^32 packets have come, which at the highest rate of
 * 10 Gbit/s takes 4 minutes. Reading also ends the PKTRING_STATUS_LOSING mark on frames until the
 * next drop.
 *
 * @param handle  an active handle
 * @param stats   receives the counters; set its size field to sizeof(struct pktring_stats)
 * @return 0; -EBUSY when the handle is not active; -EINVAL when size is not set; -EFAULT for
 *         NULL
 *
 * May be called from any thread.
 */
int pktring_stats(pktring_t *handle, struct pktring_stats *stats);

/**
 * The link type of captured frames, as libpcap numbers them (DLT_*): what pcap_open_dead() takes to
 * write a capture file. In the file itself stands the same number, but 101 for 12 (DLT_RAW).
 *
 * @param handle  an active handle
 * @return 1 (DLT_EN10MB) for Ethernet and loopback, 12 (DLT_RAW) for interfaces without
 *         link-level header and for PKTRING_DGRAM, and others; -EOPNOTSUPP when there is no
 *         number for this hardware; -EBUSY when the handle is not active; -EFAULT for NULL. On all
 *         interfaces, of which each can have its own, 1 all the same: there
 *         pktring_hardware_linktype() tells for each frame. See there for CAN, too
 */
int pktring_linktype(pktring_t *handle);

/**
 * The version of the library that is running, which can be newer than the header.
 *
 * @return a constant string like "0.1.0"
 */
const char *pktring_version(void);

/**
 * Returns the text of the last error of this handle.
 *
 * The text is that of the calling thread's last failed call with this handle; when the thread
 * had none, the last one of any thread. Calls that succeed do not change it.
 *
 * @param handle  the handle; NULL is answered with a text that says so
 * @return a string, never NULL, empty when nothing failed yet. It belongs to the handle and is
 *         valid until the next failing call of the same thread with this handle, or until
 *         pktring_close().
 *
 * May be called from any thread.
 */
const char *pktring_geterr(pktring_t *handle);

/**
 * Returns what an error number of this library means, in general words.
 *
 * pktring_geterr() says more: it knows the value and the option at fault.
 *
 * @param error  a return value of any function of this library: a negative errno value. A
 *               positive errno value is taken as well; 0 is "success".
 * @return a constant string, never NULL, valid for as long as the library is loaded.
 *
 * May be called from any thread and from signal handlers.
 */
const char *pktring_strerror(int error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* PKTRING_H */

#include "pktring/inline.h"
