//! Running a classic BPF program over a frame that is in the ring already.
//!
//! The kernel runs it over the packet when it arrives; here the same program is asked about a
//! frame that came through another filter. It sees what the ring kept of the packet: the captured
//! bytes, and those facts beside them that the frame's header tells.

use crate::ring::map::{Header, View};
use libc::sock_filter;

/// `SKF_NET_OFF`, `SKF_LL_OFF` and `SKF_AD_OFF`: where loads from elsewhere begin.
const NET_OFFSET: i64 = -0x10_0000;
const LINK_OFFSET: i64 = -0x20_0000;
const ANCILLARY: i64 = -0x1000;

// Instruction classes and their parts, as linux/bpf_common.h has them.
const LD: u16 = 0x00;
const LDX: u16 = 0x01;
const ST: u16 = 0x02;
const STX: u16 = 0x03;
const ALU: u16 = 0x04;
const JMP: u16 = 0x05;
const RET: u16 = 0x06;
const X: u16 = 0x08;
const A: u16 = 0x10;

/// A frame in the ring.
pub struct Packet<'a> {
    pub view: &'a View,
    /// Where its slot starts.
    pub at: usize,
    pub header: &'a Header,
    /// Offset of the `sockaddr_ll` in the slot.
    pub sll: usize,
}

/// What a program may ask that not every ring keeps.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// The VLAN tag that was taken off: not in V1 rings.
    pub vlan: bool,
    /// The link-level header: not with PKTRING_DGRAM.
    pub link: bool,
    /// The interface of arrival: not while frames name the original one.
    pub device: bool,
}

/// The first load of `program` from something that the ring does not keep, as the index of the
/// instruction.
pub fn unanswerable(program: &[sock_filter], kept: Kept) -> Option<usize> {
    program.iter().position(|instruction| {
        let class = instruction.code & 0x07;
        let mode = instruction.code & 0xe0;
        let offset = i64::from(instruction.k as i32);
        // Only the least significant bytes of the mode tell a load from the packet.
        let loads = class == LD && (mode == 0x20 || mode == 0x40);
        if !loads || offset >= 0 {
            return false;
        }
        match offset - ANCILLARY {
            0 | 4 | 28 | 40 => false,
            8 => !kept.device,
            44 | 48 | 60 => !kept.vlan,
            12..=64 => true,
            _ if offset >= NET_OFFSET => false,
            _ => !kept.link,
        }
    })
}

/// Why a program ended before its return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It did what makes the kernel drop the packet.
    Drop,
    /// It asked for bytes that the packet had and the ring did not keep.
    Unknown,
}

/// The bytes that `program` keeps of the packet, 0 to drop it; `None` when that depends on bytes
/// which the ring did not keep.
pub fn run(program: &[sock_filter], packet: &Packet) -> Option<u32> {
    let mut machine = Machine {
        a: 0,
        x: 0,
        memory: [0; 16],
        packet,
    };
    match machine.run(program) {
        Ok(keep) => Some(keep),
        Err(Stop::Drop) => Some(0),
        Err(Stop::Unknown) => None,
    }
}

struct Machine<'a> {
    a: u32,
    x: u32,
    memory: [u32; 16],
    packet: &'a Packet<'a>,
}

impl Machine<'_> {
    /// Jumps go forwards only, so that this ends in any case.
    fn run(&mut self, program: &[sock_filter]) -> Result<u32, Stop> {
        let mut at = 0usize;
        loop {
            let instruction = program.get(at).ok_or(Stop::Drop)?;
            at += 1;
            let k = instruction.k;
            match instruction.code & 0x07 {
                LD => self.a = self.load(instruction)?,
                LDX => self.x = self.load_index(instruction)?,
                ST => *self.memory.get_mut(k as usize).ok_or(Stop::Drop)? = self.a,
                STX => *self.memory.get_mut(k as usize).ok_or(Stop::Drop)? = self.x,
                ALU => self.a = self.compute(instruction).ok_or(Stop::Drop)?,
                JMP => {
                    let skipped = self.jump(instruction).ok_or(Stop::Drop)?;
                    at = at.saturating_add(skipped);
                }
                RET => {
                    return match instruction.code & 0x18 {
                        A => Ok(self.a),
                        _ => Ok(k),
                    }
                }
                _ => match instruction.code & 0xf8 {
                    0x80 => self.a = self.x,
                    _ => self.x = self.a,
                },
            }
        }
    }

    fn load(&self, instruction: &sock_filter) -> Result<u32, Stop> {
        let k = instruction.k;
        let width = match instruction.code & 0x18 {
            0x08 => 2,
            0x10 => 1,
            _ => 4,
        };
        match instruction.code & 0xe0 {
            0x20 => self.packet.load(i64::from(k as i32), width, self),
            0x40 => {
                let offset = i64::from(self.x.wrapping_add(k) as i32);
                self.packet.bytes(offset, width)
            }
            0x60 => self.memory.get(k as usize).copied().ok_or(Stop::Drop),
            0x80 => Ok(self.packet.header.len),
            _ => Ok(k),
        }
    }

    fn load_index(&self, instruction: &sock_filter) -> Result<u32, Stop> {
        let k = instruction.k;
        match instruction.code & 0xe0 {
            0x60 => self.memory.get(k as usize).copied().ok_or(Stop::Drop),
            0x80 => Ok(self.packet.header.len),
            // Four times the low half of a byte: the length of an IPv4 header.
            0xa0 => Ok((self.packet.bytes(i64::from(k as i32), 1)? & 0x0f) * 4),
            _ => Ok(k),
        }
    }

    fn operand(&self, instruction: &sock_filter) -> u32 {
        match instruction.code & X {
            0 => instruction.k,
            _ => self.x,
        }
    }

    fn compute(&self, instruction: &sock_filter) -> Option<u32> {
        let (a, b) = (self.a, self.operand(instruction));
        match instruction.code & 0xf0 {
            0x00 => Some(a.wrapping_add(b)),
            0x10 => Some(a.wrapping_sub(b)),
            0x20 => Some(a.wrapping_mul(b)),
            0x30 => a.checked_div(b),
            0x40 => Some(a | b),
            0x50 => Some(a & b),
            0x60 => Some(a.wrapping_shl(b)),
            0x70 => Some(a.wrapping_shr(b)),
            0x80 => Some(a.wrapping_neg()),
            0x90 => a.checked_rem(b),
            0xa0 => Some(a ^ b),
            _ => None,
        }
    }

    fn jump(&self, instruction: &sock_filter) -> Option<usize> {
        let b = self.operand(instruction);
        let holds = match instruction.code & 0xf0 {
            0x00 => return usize::try_from(instruction.k).ok(),
            0x10 => self.a == b,
            0x20 => self.a > b,
            0x30 => self.a >= b,
            0x40 => self.a & b != 0,
            _ => return None,
        };
        Some(usize::from(match holds {
            true => instruction.jt,
            false => instruction.jf,
        }))
    }
}

impl Packet<'_> {
    fn load(&self, offset: i64, width: usize, machine: &Machine) -> Result<u32, Stop> {
        let status = self.header.status;
        let tagged = status & libc::TP_STATUS_VLAN_VALID != 0;
        let of_tag = |value: u32| if tagged { value } else { 0 };
        match offset - ANCILLARY {
            0 => Ok(u32::from(u16::from_be_bytes(self.address(2)?))),
            4 => Ok(self.address::<1>(10)?[0].into()),
            8 => Ok(u32::from_ne_bytes(self.address(4)?)),
            28 => Ok(u32::from(u16::from_ne_bytes(self.address(8)?))),
            40 => Ok(machine.a ^ machine.x),
            44 => Ok(of_tag(self.header.vlan_tci & 0xffff)),
            48 => Ok(of_tag(1)),
            60 => Ok(of_tag(self.header.vlan_tpid.into())),
            _ => self.bytes(offset, width),
        }
    }

    /// Bytes of the `sockaddr_ll`.
    pub(super) fn address<const N: usize>(&self, at: usize) -> Result<[u8; N], Stop> {
        let mut bytes = [0; N];
        for (i, byte) in bytes.iter_mut().enumerate() {
            let at = self.at + self.sll + at + i;
            *byte = self.view.byte(at).ok_or(Stop::Unknown)?;
        }
        Ok(bytes)
    }

    /// The big-endian number of `width` bytes at `offset`.
    fn bytes(&self, offset: i64, width: usize) -> Result<u32, Stop> {
        let network = i64::from(self.header.net) - i64::from(self.header.mac);
        let from = match offset {
            0..=i64::MAX => offset,
            NET_OFFSET..=-1 => offset - NET_OFFSET + network,
            _ => offset - LINK_OFFSET,
        };
        let from = usize::try_from(from).map_err(|_| Stop::Drop)?;
        let end = from.saturating_add(width);
        if end > self.header.len as usize {
            return Err(Stop::Drop);
        }
        if end > self.header.snaplen as usize {
            return Err(Stop::Unknown);
        }
        let start = self.at + usize::from(self.header.mac) + from;
        (start..start + width).try_fold(0u32, |number, at| {
            let byte = self.view.byte(at).ok_or(Stop::Unknown)?;
            Ok(number << 8 | u32::from(byte))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::map::Mapping;
    use crate::sys::layout::v2;

    fn insn(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
        sock_filter { code, jt, jf, k }
    }

    fn verdict(program: &[sock_filter], data: &[u8]) -> u32 {
        verdict_of(program, data, 1000).expect("nothing unknown")
    }

    /// Runs `program` over `data` of a frame that had `len` bytes.
    fn verdict_of(program: &[sock_filter], data: &[u8], len: u32) -> Option<u32> {
        let mut memory = vec![0; 4096];
        memory[80..80 + data.len()].copy_from_slice(data);
        // sockaddr_ll: protocol, interface, hardware type, packet type.
        memory[v2::SLL + 2..v2::SLL + 4].copy_from_slice(&[0x08, 0x00]);
        memory[v2::SLL + 4..v2::SLL + 8].copy_from_slice(&7u32.to_ne_bytes());
        memory[v2::SLL + 8..v2::SLL + 10].copy_from_slice(&1u16.to_ne_bytes());
        memory[v2::SLL + 10] = 4;
        let mapping = Mapping::of_bytes(&memory);
        let view = View::new(&mapping, 0, memory.len()).unwrap();
        let header = Header {
            next: 0,
            sec: 0,
            nsec: 0,
            snaplen: data.len() as u32,
            len,
            status: libc::TP_STATUS_VLAN_VALID,
            mac: 80,
            net: 94,
            rxhash: 0,
            vlan_tci: 42,
            vlan_tpid: 0x8100,
        };
        let packet = Packet {
            view: &view,
            at: 0,
            header: &header,
            sll: v2::SLL,
        };
        run(program, &packet)
    }

    const RET_A: sock_filter = sock_filter {
        code: 0x16,
        jt: 0,
        jf: 0,
        k: 0,
    };

    #[test]
    fn loads_are_big_endian_and_end_the_program_beyond_the_captured_bytes() {
        let data = [1, 2, 3, 4, 5];
        assert_eq!(verdict(&[insn(0x20, 0, 0, 1), RET_A], &data), 0x0203_0405);
        assert_eq!(verdict(&[insn(0x28, 0, 0, 0), RET_A], &data), 0x0102);
        assert_eq!(verdict(&[insn(0x30, 0, 0, 4), RET_A], &data), 5);
        let beyond = [insn(0x20, 0, 0, 2), insn(0x06, 0, 0, 9)];
        assert_eq!(verdict_of(&beyond, &data, 5), Some(0), "beyond the packet");
        assert_eq!(verdict_of(&beyond, &data, 6), None, "beyond what was kept");
        let indexed = [insn(0x01, 0, 0, 3), insn(0x50, 0, 0, 1), RET_A];
        assert_eq!(verdict(&indexed, &data), 5);
        assert_eq!(verdict(&[insn(0x80, 0, 0, 0), RET_A], &data), 1000);
    }

    #[test]
    fn facts_beside_the_bytes_come_from_the_header() {
        let fact = |number: i32| {
            let k = (-0x1000 + number) as u32;
            verdict(&[insn(0x20, 0, 0, k), RET_A], &[0; 14])
        };
        assert_eq!(fact(libc::SKF_AD_PROTOCOL), 0x0800);
        assert_eq!(fact(libc::SKF_AD_PKTTYPE), 4);
        assert_eq!(fact(libc::SKF_AD_IFINDEX), 7);
        assert_eq!(fact(libc::SKF_AD_HATYPE), 1);
        assert_eq!(fact(libc::SKF_AD_VLAN_TAG), 42);
        assert_eq!(fact(libc::SKF_AD_VLAN_TAG_PRESENT), 1);
        assert_eq!(fact(libc::SKF_AD_VLAN_TPID), 0x8100);
    }

    #[test]
    fn loads_from_the_network_header_start_there() {
        let mut data = [0; 20];
        data[14] = 0x45;
        let net = insn(0x30, 0, 0, NET_OFFSET as u32);
        assert_eq!(verdict(&[net, RET_A], &data), 0x45);
        let link = insn(0x30, 0, 0, (LINK_OFFSET + 14) as u32);
        assert_eq!(verdict(&[link, RET_A], &data), 0x45);
        // The length of the IPv4 header.
        let length = [insn(0xb1, 0, 0, 14), insn(0x87, 0, 0, 0), RET_A];
        assert_eq!(verdict(&length, &data), 20);
    }

    #[test]
    fn arithmetic_is_that_of_the_kernel() {
        let compute = |code, a, b| verdict(&[insn(0x00, 0, 0, a), insn(code, 0, 0, b), RET_A], &[]);
        assert_eq!(compute(0x04, u32::MAX, 2), 1);
        assert_eq!(compute(0x14, 1, 2), u32::MAX);
        assert_eq!(compute(0x24, 3, 5), 15);
        assert_eq!(compute(0x34, 17, 5), 3);
        assert_eq!(compute(0x44, 0x10, 0x01), 0x11);
        assert_eq!(compute(0x54, 0x13, 0x11), 0x11);
        assert_eq!(compute(0x64, 1, 4), 16);
        assert_eq!(compute(0x74, 16, 4), 1);
        assert_eq!(compute(0x84, 1, 0), u32::MAX);
        assert_eq!(compute(0x94, 17, 5), 2);
        assert_eq!(compute(0xa4, 0x11, 0x01), 0x10);
        // Division by an index register that is 0 drops the packet.
        assert_eq!(verdict(&[insn(0x3c, 0, 0, 0), insn(0x06, 0, 0, 9)], &[]), 0);
    }

    #[test]
    fn jumps_and_memory_work() {
        let program = [
            insn(0x00, 0, 0, 5),
            insn(0x02, 0, 0, 3),
            insn(0x00, 0, 0, 6),
            insn(0x61, 0, 0, 3),
            insn(0x2d, 1, 0, 0),
            insn(0x06, 0, 0, 1),
            insn(0x05, 0, 0, 1),
            insn(0x06, 0, 0, 2),
            insn(0x06, 0, 0, 3),
        ];
        assert_eq!(verdict(&program, &[]), 3);
    }

    #[test]
    fn what_the_ring_does_not_keep_is_found_beforehand() {
        let load = |k: i32| [insn(0x06, 0, 0, 0), insn(0x20, 0, 0, k as u32)];
        let all = Kept {
            vlan: true,
            link: true,
            device: true,
        };
        let none = Kept {
            vlan: false,
            link: false,
            device: false,
        };
        assert_eq!(unanswerable(&load(12), none), None);
        assert_eq!(
            unanswerable(&load(-0x1000 + libc::SKF_AD_MARK), all),
            Some(1)
        );
        assert_eq!(
            unanswerable(&load(-0x1000 + libc::SKF_AD_RANDOM), all),
            Some(1)
        );
        assert_eq!(
            unanswerable(&load(-0x1000 + libc::SKF_AD_PKTTYPE), none),
            None
        );
        assert_eq!(
            unanswerable(&load(-0x1000 + libc::SKF_AD_VLAN_TAG), all),
            None
        );
        assert_eq!(
            unanswerable(&load(-0x1000 + libc::SKF_AD_VLAN_TAG), none),
            Some(1)
        );
        assert_eq!(
            unanswerable(&load(-0x1000 + libc::SKF_AD_IFINDEX), none),
            Some(1)
        );
        assert_eq!(unanswerable(&load(-0x20_0000), none), Some(1));
        assert_eq!(unanswerable(&load(-0x10_0000), none), None);
    }
}
