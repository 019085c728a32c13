//! Numbered Ethernet frames of mixed sizes, each different from every other.

use std::sync::OnceLock;

/// EtherType for local experiments: nobody else's traffic has it.
pub const EXPERIMENT: u16 = 0x88b5;
/// Who the frames are for, and from; nobody real.
pub const TO: [u8; 6] = [0x02, 0, 0, 0, 0, 0x0b];
pub const FROM: [u8; 6] = [0x02, 0, 0, 0, 0, 0x0a];

/// Bytes of an Ethernet header.
pub const HEADER: usize = 14;
/// The frame's number, behind the header.
const NUMBER: usize = 8;

pub const SHORTEST: usize = 60;
pub const LONGEST: usize = 1514;

/// Bytes of frame `number`: any length from SHORTEST to LONGEST, spread evenly.
pub fn length(number: u64) -> usize {
    let spread = mixed(number);
    SHORTEST + (spread % (LONGEST - SHORTEST + 1) as u64) as usize
}

/// Frame `number`, with an Ethernet header.
pub fn frame(number: u64) -> Vec<u8> {
    let mut frame = vec![0; length(number)];
    fill(number, &mut frame);
    frame
}

/// Frame `number`, cut or stretched to that length.
pub fn frame_of_length(number: u64, length: usize) -> Vec<u8> {
    let mut frame = vec![0; length];
    fill(number, &mut frame);
    frame
}

/// Frame `number` without its Ethernet header.
pub fn payload(number: u64) -> Vec<u8> {
    frame(number).split_off(HEADER)
}

/// The number of a frame, which must be one of these.
pub fn number(frame: &[u8]) -> u64 {
    let bytes = frame[HEADER..HEADER + NUMBER].try_into();
    u64::from_be_bytes(bytes.unwrap())
}

/// Whether a frame with an Ethernet header is one of these.
pub fn is_own(frame: &[u8]) -> bool {
    frame.len() >= HEADER + NUMBER && frame[12..HEADER] == EXPERIMENT.to_be_bytes()
}

/// A filter program that keeps these frames whole and no other.
pub fn own_only() -> [pktring::capi::config::pktring_insn; 4] {
    let insn = |code, jt, jf, k| pktring::capi::config::pktring_insn { code, jt, jf, k };
    // ldh [-4096 + 0]: the protocol, which is there with and without a link-level header.
    [
        insn(0x28, 0, 0, 0xffff_f000),
        insn(0x15, 0, 1, EXPERIMENT.into()),
        insn(0x06, 0, 0, u32::MAX),
        insn(0x06, 0, 0, 0),
    ]
}

fn fill(number: u64, frame: &mut [u8]) {
    frame[..6].copy_from_slice(&TO);
    frame[6..12].copy_from_slice(&FROM);
    frame[12..HEADER].copy_from_slice(&EXPERIMENT.to_be_bytes());
    frame[HEADER..HEADER + NUMBER].copy_from_slice(&number.to_be_bytes());
    let rest = &mut frame[HEADER + NUMBER..];
    let start = (mixed(number) >> 32) as usize % OFFSETS;
    rest.copy_from_slice(&pattern()[start..start + rest.len()]);
}

const OFFSETS: usize = 4099;

/// Bytes without a visible rule; frames are windows into them.
fn pattern() -> &'static [u8] {
    static PATTERN: OnceLock<Vec<u8>> = OnceLock::new();
    PATTERN.get_or_init(|| {
        (0..(OFFSETS + 65536) as u64)
            .map(|i| mixed(i) as u8)
            .collect()
    })
}

/// A well-mixed function of a number (the finaliser of SplitMix64).
pub fn mixed(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
