//! Descriptors that the receive side fills and C programs read. Part of the ABI: their layout
//! never changes. Comments here are written for the C header.

/// Link-level address of a frame, laid out like the kernel's `struct sockaddr_ll`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Address {
    /// Always AF_PACKET.
    pub family: u16,
    /// EtherType in network byte order. Of a frame with a VLAN tag that the kernel stripped:
    /// the inner protocol.
    pub protocol: u16,
    /// Index of the interface that the frame came in or went out through.
    pub ifindex: i32,
    /// ARPHRD_* type of the interface.
    pub hatype: u16,
    /// PACKET_HOST 0, PACKET_BROADCAST 1, PACKET_MULTICAST 2, PACKET_OTHERHOST 3 or
    /// PACKET_OUTGOING 4.
    pub pkttype: u8,
    /// Valid bytes of addr.
    pub halen: u8,
    /// The sender's link-level address.
    pub addr: [u8; 8],
}

/// One captured frame. Filled by pktring_next_frame() and pktring_next_batch(), whatever the
/// TPACKET version of the ring; 64 bytes, one cache line, on 64-bit systems.
///
/// The pointers lead into the ring. They are valid from the call that filled this struct until
/// the frame is given to pktring_release(), and never longer than the handle. Copies of the
/// struct are as good as the original.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// The frame's bytes, from the link-level header (PKTRING_RAW) or the network header
    /// (PKTRING_DGRAM). The memory is writable by the program, and the kernel overwrites it
    /// once the frame is released.
    pub data: *const u8,
    /// When the frame was received, in nanoseconds since 1970-01-01 00:00 UTC (of the NIC's own
    /// clock where PKTRING_STATUS_TS_RAW_HARDWARE is set). V1 rings resolve microseconds.
    pub timestamp: u64,
    /// Bytes at data.
    pub caplen: u32,
    /// Bytes the frame had on the wire. More than caplen where it was cut to the snaplen or to
    /// a V1 or V2 slot.
    pub len: u32,
    /// PKTRING_STATUS_* bits, as the kernel wrote them (tp_status).
    pub status: u32,
    /// Offset of data from the start of the frame's slot (tp_mac).
    pub mac: u16,
    /// Offset of the network header from the start of the frame's slot (tp_net): the network
    /// header is at data + (net - mac).
    pub net: u16,
    /// Flow hash; 0 where the ring was not asked for it (PKTRING_RXHASH).
    pub rxhash: u32,
    /// VLAN tag that the kernel took off the frame: priority, DEI and VLAN id, 16 bits. Valid
    /// where status has PKTRING_STATUS_VLAN_VALID. V1 rings lose it.
    pub vlan_tci: u32,
    /// EtherType of that tag, 0x8100 or 0x88a8 for example. Valid where status has
    /// PKTRING_STATUS_VLAN_TPID_VALID.
    pub vlan_tpid: u16,
    /// Of no meaning.
    pub reserved1: u16,
    /// Of no meaning.
    pub reserved2: u32,
    /// Where the frame came from. Never NULL.
    pub addr: *const Address,
    /// The library's: tells the frame from every other one of this and of other handles.
    pub number: u64,
}

/// The middle of [`Frame`], from `caplen` to `reserved2`, lies in memory like the bytes from
/// `tp_snaplen` on of the kernel's `struct tpacket3_hdr`, so that it is copied in one go.
pub(crate) const COPIED: usize = 32;

const _: () = {
    use crate::sys::layout::v3;
    assert!(std::mem::size_of::<usize>() != 8 || std::mem::size_of::<Frame>() == 64);
    assert!(v3::LEN - v3::SNAPLEN == 4 && v3::STATUS - v3::SNAPLEN == 8);
    assert!(v3::MAC - v3::SNAPLEN == 12 && v3::NET - v3::SNAPLEN == 14);
    assert!(v3::RXHASH - v3::SNAPLEN == 16 && v3::VLAN_TCI - v3::SNAPLEN == 20);
    assert!(v3::VLAN_TPID - v3::SNAPLEN == 24 && v3::SNAPLEN + COPIED <= v3::SLL);
};

/// One whole block of a V3 ring. Filled by pktring_next_block().
///
/// The pointers lead into the ring. They are valid until the block is given to
/// pktring_release_block(), and never longer than the handle.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// Start of the block: the kernel's struct tpacket_block_desc.
    pub base: *const u8,
    /// The caller's area, private_size bytes that the kernel never writes. NULL without one.
    pub private_area: *mut u8,
    /// When the kernel began to fill the block, in nanoseconds since 1970-01-01 00:00 UTC: at the
    /// end of the one before, or when the ring was made.
    pub first_timestamp: u64,
    /// Timestamp of the last frame; where the block was handed over by the retire timeout, the
    /// time of that. A frame that was stamped on arrival, before the block was begun, can make it
    /// the smaller of the two.
    pub last_timestamp: u64,
    /// The kernel's count of blocks filled, starting with 1. Without a gap as long as no other
    /// process consumes the ring.
    pub sequence: u64,
    /// Bytes used in the block, descriptor and private area included.
    pub length: u32,
    /// Frames in the block.
    pub frame_count: u32,
    /// PKTRING_STATUS_* bits of the block; PKTRING_STATUS_BLK_TMO: handed over by the retire
    /// timeout before it was full.
    pub status: u32,
    /// Bytes at private_area.
    pub private_size: u32,
    /// Offset of the first frame's header from base, in bytes.
    pub first_offset: u32,
    /// Size of the block in bytes: no frame reaches beyond base + size.
    pub size: u32,
    /// The library's: tells the block from every other one of this and of other handles.
    pub number: u64,
    /// The library's.
    pub slot: u64,
}

/// What became of a frame that was committed for transmission. Filled by pktring_tx_complete().
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    /// pktring_slot.user_data as it was when the frame was committed.
    pub user_data: u64,
    /// When the frame was sent, in nanoseconds since 1970-01-01 00:00 UTC; 0 when the kernel did
    /// not say.
    pub timestamp: u64,
    /// Bytes of the frame.
    pub length: u32,
    /// 0: sent. Otherwise the negative errno value of why the kernel refused it.
    pub error: i32,
    /// PKTRING_STATUS_TS_* bits that tell which clock timestamp is of.
    pub status: u32,
    /// 0.
    pub reserved: u32,
}
