//! Classic BPF programs: what the socket runs to select packets and to cut them to the snaplen.

#![forbid(unsafe_code)]

use crate::error::{invalid, Result};
use libc::{sock_filter, BPF_A, BPF_JA, BPF_JGT, BPF_JMP, BPF_K, BPF_RET};

/// The kernel's limit (`BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// A return value that keeps the whole packet; the kernel cuts to the packet's length.
pub const WHOLE: u32 = u32::MAX;

const RET_K: u16 = (BPF_RET | BPF_K) as u16;
const RET_A: u16 = (BPF_RET | BPF_A) as u16;

/// One instruction without jump targets.
pub const fn statement(code: u16, k: u32) -> sock_filter {
    sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

/// A program that accepts nothing. It stands in front of the socket until the handle is
/// completely set up.
pub const DROP_ALL: [sock_filter; 1] = [statement(RET_K, 0)];

/// Checks what the kernel would refuse without telling why.
pub fn check(program: &[sock_filter]) -> Result<()> {
    if program.is_empty() || program.len() > MAX_INSTRUCTIONS {
        return Err(invalid!(
            "a filter of {} instructions is out of range; 1 to {MAX_INSTRUCTIONS} are valid",
            program.len()
        ));
    }
    Ok(())
}

/// The program to attach for `filter` and `snaplen` (0: no limit); `None` when every packet is
/// wanted whole. A filter's return value is the number of bytes to keep, so cutting at the
/// snaplen needs no copy and no check later: every return is limited to it.
pub fn with_snaplen(filter: Option<&[sock_filter]>, snaplen: u32) -> Option<Vec<sock_filter>> {
    match (filter, snaplen) {
        (None, 0) => None,
        (None, snaplen) => Some(vec![statement(RET_K, snaplen)]),
        (Some(filter), 0) => Some(filter.to_vec()),
        (Some(filter), snaplen) => Some(limit_returns(filter, snaplen)),
    }
}

fn limit_returns(filter: &[sock_filter], snaplen: u32) -> Vec<sock_filter> {
    let tail = filter.len();
    let mut program: Vec<sock_filter> = filter
        .iter()
        .enumerate()
        .map(|(i, instruction)| match instruction.code {
            RET_K => statement(RET_K, instruction.k.min(snaplen)),
            // Only known when it runs: jump to the comparison behind the program.
            RET_A => statement((BPF_JMP | BPF_JA) as u16, (tail - i - 1) as u32),
            _ => *instruction,
        })
        .collect();
    if filter.iter().any(|instruction| instruction.code == RET_A) {
        program.push(sock_filter {
            code: (BPF_JMP | BPF_JGT | BPF_K) as u16,
            jt: 0,
            jf: 1,
            k: snaplen,
        });
        program.push(statement(RET_K, snaplen));
        program.push(statement(RET_A, 0));
    }
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    fn returns(program: &[sock_filter]) -> Vec<(u16, u32)> {
        program.iter().map(|i| (i.code, i.k)).collect()
    }

    #[test]
    fn constant_returns_are_limited_and_rejection_stays() {
        let filter = [
            statement(RET_K, WHOLE),
            statement(RET_K, 0),
            statement(RET_K, 40),
        ];
        let program = with_snaplen(Some(&filter), 96).unwrap();
        assert_eq!(returns(&program), [(RET_K, 96), (RET_K, 0), (RET_K, 40)]);
    }

    #[test]
    fn computed_returns_jump_to_one_comparison_behind_the_program() {
        let filter = [statement(RET_A, 0), statement(RET_A, 0)];
        let program = with_snaplen(Some(&filter), 96).unwrap();
        let ja = (BPF_JMP | BPF_JA) as u16;
        assert_eq!(
            returns(&program),
            [
                (ja, 1),
                (ja, 0),
                ((BPF_JMP | BPF_JGT | BPF_K) as u16, 96),
                (RET_K, 96),
                (RET_A, 0)
            ]
        );
    }

    #[test]
    fn no_filter_and_no_snaplen_need_no_program() {
        assert!(with_snaplen(None, 0).is_none());
    }
}
