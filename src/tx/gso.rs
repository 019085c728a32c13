//! UDP segmentation offload: many datagrams of one flow handed to the kernel as one frame.
//!
//! The kernel walks its transmit path once for all of them and cuts the frame at the very end,
//! or leaves that to the NIC. It writes lengths, IP identification and checksums anew.

use crate::error::{invalid, Error, Result};
use crate::offload::{Vnet, GSO_NONE, GSO_UDP_L4, NEEDS_CSUM};
use std::io::IoSlice;

/// Datagrams in one frame at most; every kernel that has this offload cuts that many.
pub const MOST: usize = 64;

/// Payloads up to this length cost less when they are copied together first: the kernel takes
/// about 50 ns for each piece that a frame is in.
const SHORT: usize = 512;

/// Memory that a frame of [`SHORT`] payloads fits into.
pub const TOGETHER: usize = HEAD + MOST * SHORT;

/// An IP packet's length has 16 bits.
const LONGEST_PACKET: usize = 65_535;

const ETHERTYPE: usize = 2;
const VLAN_TAG: usize = 4;
const IPV6_HEADER: usize = 40;
const UDP_HEADER: usize = 8;
const PROTOCOL_UDP: u8 = 17;

/// virtio_net, Ethernet, two VLAN tags, the longest IPv4 header, UDP.
const HEAD: usize = 12 + 14 + 2 * VLAN_TAG + 60 + UDP_HEADER;

/// Where the headers of a UDP frame are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    /// Offset of the IP header.
    ip: usize,
    /// Offset of the UDP header.
    udp: usize,
    v6: bool,
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn set_word(bytes: &mut [u8], at: usize, value: usize) {
    bytes[at..at + 2].copy_from_slice(&(value as u16).to_be_bytes());
}

impl Layout {
    /// The layout of `frame`, which starts with `link` bytes of link-level header; `None` when it
    /// is no whole UDP datagram over IPv4, or over IPv6 without extension headers.
    fn of(frame: &[u8], link: usize) -> Option<Layout> {
        let ip = match link {
            0 => 0,
            link => {
                let mut at = link - ETHERTYPE;
                while matches!(word(frame, at)?, 0x8100 | 0x88a8) && at < link + VLAN_TAG {
                    at += VLAN_TAG;
                }
                at + ETHERTYPE
            }
        };
        let layout = match frame.get(ip)? >> 4 {
            4 => {
                let header = usize::from(frame[ip] & 15) * 4;
                // Fragments have no UDP header, or not all of the datagram.
                let whole = word(frame, ip + 6)? & 0x3fff == 0;
                let udp = *frame.get(ip + 9)? == PROTOCOL_UDP;
                let layout = Layout {
                    ip,
                    udp: ip + header,
                    v6: false,
                };
                (whole && udp && header >= 20).then_some(layout)?
            }
            6 if *frame.get(ip + 6)? == PROTOCOL_UDP => Layout {
                ip,
                udp: ip + IPV6_HEADER,
                v6: true,
            },
            _ => return None,
        };
        (frame.len() >= layout.payload()).then_some(layout)
    }

    /// Offset of the datagram's payload.
    fn payload(&self) -> usize {
        self.udp + UDP_HEADER
    }

    /// Bytes of IP and UDP header.
    fn headers(&self) -> usize {
        self.payload() - self.ip
    }

    /// The payload of `frame`, without padding behind it; `None` when the lengths in its headers
    /// contradict each other.
    fn payload_of<'a>(&self, frame: &'a [u8]) -> Option<&'a [u8]> {
        let datagram = usize::from(word(frame, self.udp + 4)?);
        let packet = match self.v6 {
            false => usize::from(word(frame, self.ip + 2)?),
            true => usize::from(word(frame, self.ip + 4)?) + IPV6_HEADER,
        };
        if self.udp - self.ip + datagram != packet {
            return None;
        }
        frame.get(self.payload()..self.udp + datagram)
    }

    /// The offsets of what the kernel writes anew, two bytes each: length and checksum of UDP,
    /// length of IP, and identification and checksum of IPv4.
    fn anew(&self) -> [usize; 5] {
        let (ip, length, checksum) = (self.ip, self.udp + 4, self.udp + 6);
        match self.v6 {
            false => [length, checksum, ip + 2, ip + 4, ip + 10],
            true => [length, checksum, ip + 4, length, length],
        }
    }

    /// Writes the lengths for `payload` bytes into the headers of `frame`, the IPv4 checksum, and
    /// the sum of the pseudo header where the UDP checksum will be.
    fn write_lengths(&self, frame: &mut [u8], payload: usize) {
        let datagram = UDP_HEADER + payload;
        let ip = self.ip;
        set_word(frame, self.udp + 4, datagram);
        let addresses = match self.v6 {
            true => {
                set_word(frame, ip + 4, datagram);
                ip + 8..ip + 40
            }
            false => {
                set_word(frame, ip + 2, self.udp - ip + datagram);
                set_word(frame, ip + 10, 0);
                let sum = sum(&frame[ip..self.udp], 0);
                set_word(frame, ip + 10, usize::from(!sum));
                ip + 12..ip + 20
            }
        };
        let pseudo = sum(&frame[addresses], datagram as u32 + u32::from(PROTOCOL_UDP));
        set_word(frame, self.udp + 6, pseudo.into());
    }

    fn vnet(&self, segments: usize, segment: usize) -> Vnet {
        let cut = segments > 1;
        Vnet {
            flags: NEEDS_CSUM,
            gso_type: if cut { GSO_UDP_L4 } else { GSO_NONE },
            hdr_len: self.payload() as u16,
            gso_size: if cut { segment as u16 } else { 0 },
            csum_start: self.udp as u16,
            csum_offset: 6,
            num_buffers: 0,
        }
    }
}

/// The headers that all frames of a flow share, to be compared eight bytes at a time.
struct Flow {
    length: usize,
    /// What is expected, and which bits of it count.
    words: [(u64, u64); HEAD / 8 + 1],
    /// The same for the last eight bytes.
    last: (u64, u64),
}

/// Up to eight bytes.
#[inline(always)]
fn load(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_ne_bytes(word)
}

impl Flow {
    /// The flow of `frame`, of that layout.
    fn of(frame: &[u8], layout: &Layout) -> Flow {
        let length = layout.payload();
        let mut mask = [0xff; HEAD];
        for at in layout.anew() {
            mask[at..at + 2].copy_from_slice(&[0, 0]);
        }
        let (head, mask) = (&frame[..length], &mask[..length]);
        let pair = |head, mask| (load(head) & load(mask), load(mask));
        let mut words = [(0, 0); HEAD / 8 + 1];
        let pairs = head.chunks_exact(8).zip(mask.chunks_exact(8));
        for (word, (head, mask)) in words.iter_mut().zip(pairs) {
            *word = pair(head, mask);
        }
        Flow {
            length,
            words,
            last: pair(&head[length - 8..], &mask[length - 8..]),
        }
    }

    /// Whether the headers of `frame` differ from the first one's in nothing but what the kernel
    /// writes anew.
    #[inline(always)]
    fn has(&self, frame: &[u8]) -> bool {
        let head = match frame.get(..self.length) {
            Some(head) if head.len() >= 8 => head,
            _ => return false,
        };
        let (expected, mask) = self.last;
        if load(&head[head.len() - 8..]) & mask != expected {
            return false;
        }
        let mut pairs = head.chunks_exact(8).zip(&self.words);
        pairs.all(|(head, (expected, mask))| load(head) & mask == *expected)
    }
}

/// The Internet's ones' complement sum, not complemented.
fn sum(bytes: &[u8], start: u32) -> u16 {
    let mut sum = bytes.chunks(2).fold(start, |sum, pair| {
        let low = pair.get(1).copied().unwrap_or(0);
        sum + u32::from(u16::from_be_bytes([pair[0], low]))
    });
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

/// How the frames of a handle are sent.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Bytes of link-level header.
    pub link: usize,
    /// Bytes of virtio_net header: 10 or 12.
    pub vnet: usize,
    /// Bytes of a frame at most, virtio_net header included.
    pub longest: usize,
    /// Bytes of an IP packet on the wire at most.
    pub mtu: usize,
}

/// Several datagrams as one frame: its headers, and the payloads in the caller's memory.
pub struct Joined<'a> {
    head: [u8; HEAD],
    head_length: usize,
    payloads: [IoSlice<'a>; MOST],
    slices: usize,
    /// Datagrams that the kernel will make of it.
    pub count: usize,
}

impl<'a> Joined<'a> {
    fn new(way: &Way) -> Joined<'a> {
        Joined {
            head: [0; HEAD],
            head_length: way.vnet,
            payloads: [IoSlice::new(&[]); MOST],
            slices: 0,
            count: 0,
        }
    }

    fn push(&mut self, payload: &'a [u8]) {
        self.payloads[self.slices] = IoSlice::new(payload);
        self.slices += 1;
    }

    /// Writes the headers: those of `frame`, for `payload` bytes in all.
    fn finish(&mut self, way: &Way, layout: &Layout, frame: &[u8], payload: usize, segment: usize) {
        let end = way.vnet + layout.payload();
        let headers = &mut self.head[way.vnet..end];
        headers.copy_from_slice(&frame[..layout.payload()]);
        layout.write_lengths(headers, payload);
        let vnet = layout.vnet(self.count, segment).to_bytes();
        self.head[..way.vnet].copy_from_slice(&vnet[..way.vnet]);
        self.head_length = end;
    }

    /// The whole frame, copied together into `memory`; `None` where that is not worth it or
    /// `memory` is too short.
    pub fn together<'m>(&self, memory: &'m mut [u8]) -> Option<&'m [u8]> {
        let payloads = &self.payloads[..self.slices];
        if payloads.len() < 2 || payloads[0].len() > SHORT {
            return None;
        }
        let mut end = self.head_length;
        memory
            .get_mut(..end)?
            .copy_from_slice(&self.head[..self.head_length]);
        for payload in payloads {
            let start = end;
            end += payload.len();
            memory.get_mut(start..end)?.copy_from_slice(payload);
        }
        memory.get(..end)
    }

    /// Calls `send` with the parts of the frame in order.
    pub fn with_parts<R>(&self, send: impl FnOnce(&[IoSlice]) -> R) -> R {
        let mut parts = [IoSlice::new(&[]); MOST + 1];
        parts[0] = IoSlice::new(&self.head[..self.head_length]);
        parts[1..=self.slices].copy_from_slice(&self.payloads[..self.slices]);
        send(&parts[..=self.slices])
    }
}

/// Joins as many frames as possible from the first on: `frame(0)` to `frame(count - 1)`. One that
/// cannot be joined with the next is sent as it is.
pub fn join<'a>(way: &Way, count: usize, frame: impl Fn(usize) -> &'a [u8]) -> Result<Joined<'a>> {
    let mut joined = Joined::new(way);
    let first = frame(0);
    joined.count = 1;
    let found = Layout::of(first, way.link)
        .and_then(|layout| layout.payload_of(first).map(|payload| (layout, payload)));
    let (layout, payload) = match found {
        Some((layout, payload)) if !payload.is_empty() => (layout, payload),
        _ => {
            joined.push(first);
            return Ok(joined);
        }
    };
    let segment = payload.len();
    let room = room(way, &layout);
    let mut total = segment;
    let flow = Flow::of(first, &layout);
    for i in 1..count.min(MOST) {
        let next = frame(i);
        if !flow.has(next) {
            break;
        }
        match layout.payload_of(next) {
            Some(more) if (1..=segment).contains(&more.len()) && total + more.len() <= room => {
                if joined.count == 1 {
                    joined.push(payload);
                }
                joined.push(more);
                joined.count += 1;
                total += more.len();
                // Only the last one may be shorter.
                if more.len() < segment {
                    break;
                }
            }
            _ => break,
        }
    }
    if joined.count == 1 {
        joined.push(first);
        return Ok(joined);
    }
    check_segment(way, &layout, segment)?;
    joined.finish(way, &layout, first, total, segment);
    Ok(joined)
}

/// The frame that holds the payload of `frame` from `from` on, as far as one can, to be cut into
/// datagrams of `segment` bytes. The second result is where in the payload the rest begins;
/// `None`: there is none.
pub fn cut<'a>(
    way: &Way,
    frame: &'a [u8],
    segment: usize,
    from: usize,
) -> Result<(Joined<'a>, Option<usize>)> {
    let layout = layout_to_cut(way, frame, segment)?;
    let payload = &frame[layout.payload()..];
    let most = (room(way, &layout) / segment).min(MOST) * segment;
    if most == 0 {
        return Err(too_long(way, &layout, segment));
    }
    let end = (from + most).min(payload.len());
    let mut joined = Joined::new(way);
    joined.push(&payload[from..end]);
    joined.count = (end - from + segment - 1) / segment;
    joined.finish(way, &layout, frame, end - from, segment);
    Ok((joined, (end < payload.len()).then_some(end)))
}

/// Completes the headers of a frame that lies behind its virtio_net header in `bytes`, to be cut
/// into datagrams of `segment` bytes.
pub fn prepare(way: &Way, bytes: &mut [u8], segment: usize) -> Result<()> {
    if bytes.len() < way.vnet {
        return Err(invalid!(
            "length {} does not hold the virtio_net header of {} bytes",
            bytes.len(),
            way.vnet
        ));
    }
    let (vnet, frame) = bytes.split_at_mut(way.vnet);
    let layout = layout_to_cut(way, frame, segment)?;
    let payload = frame.len() - layout.payload();
    let segments = (payload + segment - 1) / segment;
    if segments > MOST || layout.headers() + payload > LONGEST_PACKET {
        return Err(invalid!(
            "a frame of {payload} bytes of payload in {segments} datagrams is too long: at most \
             {MOST} datagrams and an IP packet of {LONGEST_PACKET} bytes are valid"
        ));
    }
    layout.write_lengths(frame, payload);
    vnet.copy_from_slice(&layout.vnet(segments, segment).to_bytes()[..way.vnet]);
    Ok(())
}

fn layout_to_cut(way: &Way, frame: &[u8], segment: usize) -> Result<Layout> {
    let layout = Layout::of(frame, way.link).ok_or_else(|| {
        invalid!(
            "only UDP datagrams over IPv4, or over IPv6 without extension headers, can be cut, and \
             this frame is none"
        )
    })?;
    if segment == 0 || segment > LONGEST_PACKET {
        return Err(invalid!(
            "segment {segment} is out of range: 1 to {} bytes are valid",
            way.mtu.saturating_sub(layout.headers())
        ));
    }
    check_segment(way, &layout, segment)?;
    Ok(layout)
}

/// Payload that one frame can hold.
fn room(way: &Way, layout: &Layout) -> usize {
    let packet = LONGEST_PACKET - layout.headers();
    let slot = way.longest.saturating_sub(way.vnet + layout.payload());
    packet.min(slot)
}

fn check_segment(way: &Way, layout: &Layout, segment: usize) -> Result<()> {
    match layout.headers() + segment > way.mtu {
        true => Err(too_long(way, layout, segment)),
        false => Ok(()),
    }
}

fn too_long(way: &Way, layout: &Layout, segment: usize) -> Error {
    let link = layout.ip as u64;
    Error::FrameLength {
        length: (layout.payload() + segment) as u64,
        least: layout.payload() as u32,
        most: (way.mtu as u64 + link).min(u32::MAX.into()) as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAY: Way = Way {
        link: 14,
        vnet: 10,
        longest: usize::MAX,
        mtu: 1500,
    };

    /// A datagram over IPv4 or IPv6, with lengths but no checksums.
    fn datagram(v6: bool, tags: usize, port: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![2; 12];
        for _ in 0..tags {
            frame.extend([0x81, 0, 0, 5]);
        }
        let udp = (8 + payload.len()) as u16;
        if v6 {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(udp.to_be_bytes());
            frame.extend([17, 64]);
            frame.extend([0xfd; 32]);
        } else {
            frame.extend([8, 0, 0x45, 0]);
            frame.extend((20 + udp).to_be_bytes());
            frame.extend([0, 1, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
        }
        frame.extend(port.to_be_bytes());
        frame.extend([0, 9]);
        frame.extend(udp.to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(payload);
        frame
    }

    fn whole(joined: &Joined) -> Vec<u8> {
        joined.with_parts(|parts| parts.iter().flat_map(|part| part.iter().copied()).collect())
    }

    #[test]
    fn headers_are_found_behind_tags_and_options() {
        for (v6, tags) in [(false, 0), (false, 1), (false, 2), (true, 0), (true, 2)] {
            let frame = datagram(v6, tags, 7, b"payload");
            let layout = Layout::of(&frame, 14).unwrap();
            assert_eq!(layout.ip, 14 + 4 * tags);
            assert_eq!(layout.payload_of(&frame), Some(&b"payload"[..]));
            assert_eq!(Layout::of(&frame[14 + 4 * tags..], 0).unwrap().ip, 0);
        }
        let mut options = datagram(false, 0, 7, b"");
        options[14] = 0x46;
        options.splice(34..34, [1, 1, 1, 1]);
        assert_eq!(Layout::of(&options, 14).unwrap().udp, 38);
    }

    #[test]
    fn what_is_no_whole_datagram_is_no_layout() {
        let good = datagram(false, 0, 7, b"payload");
        for (at, value) in [
            (14, 0x44),
            (14, 0x55),
            (20, 0x20),
            (21, 1),
            (23, 6),
            (12, 9),
        ] {
            let mut bad = good.clone();
            bad[at] = value;
            // The EtherType does not matter: the kernel takes what the IP version says.
            assert_eq!(Layout::of(&bad, 14).is_none(), at != 12, "{at}");
        }
        for length in 0..good.len() - 7 {
            assert!(Layout::of(&good[..length], 14).is_none(), "{length}");
        }
    }

    #[test]
    fn datagrams_are_joined_until_one_differs() {
        let frames = [
            datagram(false, 0, 7, &[1; 30]),
            datagram(false, 0, 7, &[2; 30]),
            datagram(false, 0, 7, &[3; 20]),
            datagram(false, 0, 7, &[4; 20]),
            datagram(false, 0, 8, &[5; 20]),
        ];
        let join =
            |from: usize| join(&WAY, frames.len() - from, |i| &frames[from + i][..]).unwrap();
        assert_eq!([0, 3, 4].map(|from| join(from).count), [3, 1, 1]);
        let bytes = whole(&join(0));
        let vnet = [1, 5, 42, 0, 30, 0, 34, 0, 6, 0];
        #[cfg(target_endian = "little")]
        assert_eq!(bytes[..10], vnet);
        assert_eq!(vnet.len(), WAY.vnet);
        let frame = &bytes[10..];
        assert_eq!(word(frame, 16), Some(20 + 8 + 80));
        assert_eq!(word(frame, 38), Some(8 + 80));
        assert_eq!(sum(&frame[14..34], 0), 0xffff, "the header checksum");
        assert_eq!(frame[42..], [&[1; 30][..], &[2; 30], &[3; 20]].concat());
        assert_eq!(whole(&join(4)), [&[0; 10][..], &frames[4]].concat());
    }

    #[test]
    fn short_payloads_are_copied_together_where_they_fit() {
        let mut memory = vec![0xee; TOGETHER];
        let mut joined = |payload: usize, count: usize| {
            let frames = vec![datagram(false, 0, 7, &vec![payload as u8; payload]); count];
            let joined = join(&WAY, count, |i| &frames[i][..]).unwrap();
            let together = joined.together(&mut memory).map(<[u8]>::to_vec);
            (together, whole(&joined))
        };
        for payload in [1, 22, SHORT] {
            let (together, whole) = joined(payload, MOST);
            assert_eq!(together, Some(whole), "{payload}");
        }
        assert_eq!(joined(SHORT + 1, 2).0, None);
        assert_eq!(joined(22, 1).0, None, "nothing to join");
        let frames = [
            datagram(false, 0, 7, &[1; 30]),
            datagram(false, 0, 7, &[2; 30]),
        ];
        let joined = join(&WAY, 2, |i| &frames[i][..]).unwrap();
        let length = whole(&joined).len();
        assert!(joined.together(&mut vec![0; length]).is_some());
        assert!(joined.together(&mut vec![0; length - 1]).is_none());
        assert!(joined.together(&mut []).is_none());
    }

    #[test]
    fn a_frame_holds_no_more_than_its_slot_and_an_ip_packet() {
        let frame = datagram(false, 0, 7, &[1; 1400]);
        let joined = |way: &Way| join(way, 100, |_| &frame[..]).unwrap().count;
        assert_eq!(joined(&WAY), 65_507 / 1400);
        let slot = |payload: usize| Way {
            longest: 10 + 42 + payload,
            ..WAY
        };
        assert_eq!([2800, 2799].map(|room| joined(&slot(room))), [2, 1]);
        let small = datagram(true, 1, 7, &[1]);
        assert_eq!(join(&WAY, 100, |_| &small[..]).unwrap().count, MOST);
    }

    #[test]
    fn a_long_frame_is_cut_into_as_many_as_it_takes() {
        let payload: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
        let frame = [datagram(false, 0, 7, &[]), payload.clone()].concat();
        let (mut from, mut count, mut seen) = (Some(0), 0, Vec::<u8>::new());
        while let Some(at) = from {
            let (joined, rest) = cut(&WAY, &frame, 1000, at).unwrap();
            let bytes = whole(&joined);
            assert!(bytes.len() <= 10 + 14 + LONGEST_PACKET);
            seen.extend(&bytes[10 + 42..]);
            count += joined.count;
            from = rest;
        }
        assert_eq!((count, seen == payload), (200, true));
        assert!(cut(&WAY, &frame, 1473, 0).is_err(), "beyond the MTU");
        assert!(cut(&WAY, &frame, 1472, 0).is_ok());
        assert!(cut(&WAY, &frame, 0, 0).is_err());
        assert!(cut(&WAY, &frame[..41], 100, 0).is_err());
    }

    #[test]
    fn a_frame_in_its_slot_is_completed_in_place() {
        let frame = [datagram(true, 0, 7, &[]), vec![9; 250]].concat();
        let mut bytes = [vec![0; 12], frame].concat();
        let way = Way { vnet: 12, ..WAY };
        prepare(&way, &mut bytes, 100).unwrap();
        assert_eq!(bytes[..2], [1, 5]);
        assert_eq!(bytes[10..12], [0, 0]);
        assert_eq!(word(&bytes[12..], 18), Some(258));
        let mut long = [vec![0; 12], datagram(false, 0, 7, &[0; 65])].concat();
        assert!(prepare(&way, &mut long, 1).is_err(), "65 datagrams");
        assert!(prepare(&way, &mut long[..11], 1).is_err());
    }
}
