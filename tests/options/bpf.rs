//! Classic BPF programs for the tests.

use pktring::capi::config::pktring_insn;

const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_SET: u16 = 0x45;
const RETURN: u16 = 0x06;
const RETURN_A: u16 = 0x16;
const MODULO: u16 = 0x94;
const ADD: u16 = 0x04;

fn insn(code: u16, jt: u8, jf: u8, k: u32) -> pktring_insn {
    pktring_insn { code, jt, jf, k }
}

/// Returns the 32-bit word at `offset`.
pub fn word(offset: u32) -> Vec<pktring_insn> {
    vec![insn(LOAD_WORD, 0, 0, offset), insn(RETURN_A, 0, 0, 0)]
}

/// Returns the 32-bit word at `offset` plus a number.
pub fn word_plus(offset: u32, summand: u32) -> Vec<pktring_insn> {
    vec![
        insn(LOAD_WORD, 0, 0, offset),
        insn(ADD, 0, 0, summand),
        insn(RETURN_A, 0, 0, 0),
    ]
}

/// Returns a constant.
pub fn constant(value: u32) -> Vec<pktring_insn> {
    vec![insn(RETURN, 0, 0, value)]
}

/// Keeps `bytes` of the frames whose number, see [`super::frame`], is `rest` modulo `divisor`.
pub fn numbered(divisor: u32, rest: u32, bytes: u32) -> Vec<pktring_insn> {
    vec![
        insn(LOAD_HALF, 0, 0, 12),
        insn(JUMP_EQUAL, 0, 4, super::EXPERIMENT.into()),
        insn(LOAD_WORD, 0, 0, 14),
        insn(MODULO, 0, 0, divisor),
        insn(JUMP_EQUAL, 0, 1, rest),
        insn(RETURN, 0, 0, bytes),
        insn(RETURN, 0, 0, 0),
    ]
}

/// Keeps the frames whose number has one of these bits.
pub fn number_has(bits: u32) -> Vec<pktring_insn> {
    vec![
        insn(LOAD_WORD, 0, 0, 14),
        insn(JUMP_SET, 0, 1, bits),
        insn(RETURN, 0, 0, u32::MAX),
        insn(RETURN, 0, 0, 0),
    ]
}
