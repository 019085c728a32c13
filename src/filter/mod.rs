//! Filters: what the socket runs to select packets and to cut them to the snaplen.

#![forbid(unsafe_code)]

pub mod interpret;
pub mod parse;
pub mod recheck;
pub mod trial;

use crate::error::{invalid, Error, Result};
use crate::program::{Program, MAX_INSTRUCTIONS};
use crate::sys::call::PacketSocket;
use libc::{
    sock_filter, BPF_A, BPF_ABS, BPF_IMM, BPF_JA, BPF_JEQ, BPF_JGT, BPF_JMP, BPF_K, BPF_LD,
    BPF_RET, BPF_W,
};

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

/// Which of the packets that pass the interface are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Both,
    In,
    Out,
}

/// A filter and what is done beside it.
#[derive(Clone, Debug)]
pub struct Selection {
    pub filter: Option<Program>,
    /// Bytes to keep of each packet; 0: all.
    pub snaplen: u32,
    pub side: Side,
}

impl Selection {
    /// The program to attach; `None` when every packet is wanted whole.
    ///
    /// A filter's return value is the number of bytes to keep, so cutting at the snaplen needs no
    /// copy and no check later: every return is limited to it.
    pub fn program(&self) -> Result<Option<Program>> {
        let filter = match &self.filter {
            Some(Program::Extended(_)) if self.snaplen != 0 || self.side != Side::Both => {
                return Err(invalid!(
                    "an eBPF filter does not go with snaplen or direction: it returns the bytes \
                     to keep itself, and finds the direction in pkt_type"
                ))
            }
            Some(Program::Extended(fd)) => return Ok(Some(Program::Extended(fd.clone()))),
            Some(Program::Classic(filter)) => Some(filter.as_slice()),
            None => None,
        };
        let mut program = match (filter, self.snaplen, self.side) {
            (None, 0, Side::Both) => return Ok(None),
            (None, 0, _) => vec![statement(RET_K, WHOLE)],
            (None, snaplen, _) => vec![statement(RET_K, snaplen)],
            (Some(filter), 0, _) => filter.to_vec(),
            (Some(filter), snaplen, _) => limit_returns(filter, snaplen),
        };
        if self.side != Side::Both {
            program = choose_side(&program, self.side == Side::In);
        }
        if program.len() > MAX_INSTRUCTIONS {
            return Err(invalid!(
                "a filter of {} instructions is out of range: with those for snaplen and \
                 direction, {MAX_INSTRUCTIONS} are valid",
                program.len()
            ));
        }
        Ok(Some(Program::Classic(program)))
    }
}

/// Puts `program` behind a test for the direction of the packet.
fn choose_side(program: &[sock_filter], incoming: bool) -> Vec<sock_filter> {
    const OUTGOING: u32 = libc::PACKET_OUTGOING as u32;
    let kind = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE) as u32;
    let mut all = vec![
        statement((BPF_LD | BPF_W | BPF_ABS) as u16, kind),
        sock_filter {
            code: (BPF_JMP | BPF_JEQ | BPF_K) as u16,
            jt: (!incoming).into(),
            jf: incoming.into(),
            k: OUTGOING,
        },
        statement(RET_K, 0),
        // As every program finds it.
        statement((BPF_LD | BPF_IMM) as u16, 0),
    ];
    all.extend(program);
    all
}

/// Attaches a program, in place of the one before if there is one.
pub fn attach(socket: &PacketSocket, program: &Program) -> Result<()> {
    let (option, name) = match program {
        Program::Classic(_) => (libc::SO_ATTACH_FILTER, "SO_ATTACH_FILTER"),
        Program::Extended(_) => (libc::SO_ATTACH_BPF, "SO_ATTACH_BPF"),
    };
    match program {
        Program::Classic(program) => socket.set_program(libc::SOL_SOCKET, option, program),
        Program::Extended(fd) => socket.set_fd(libc::SOL_SOCKET, option, fd),
    }
    .map_err(|errno| match errno {
        libc::EPERM => LOCKED,
        libc::ENOPROTOOPT => Error::option(name, "3.19", errno),
        errno => program.explain(name, errno),
    })
}

/// Takes the filter away, if there is one: every packet is received whole.
pub fn detach(socket: &PacketSocket) -> Result<()> {
    match socket.set(libc::SOL_SOCKET, libc::SO_DETACH_FILTER, &0) {
        Ok(()) | Err(libc::ENOENT) => Ok(()),
        Err(libc::EPERM) => Err(LOCKED),
        Err(errno) => Err(Error::system("SO_DETACH_FILTER", errno)),
    }
}

/// Has the socket keep its filter for good.
pub fn lock(socket: &PacketSocket) -> Result<()> {
    let option = libc::SO_LOCK_FILTER;
    let fail = |errno| Error::option("SO_LOCK_FILTER", "3.9", errno);
    socket.set(libc::SOL_SOCKET, option, &1).map_err(fail)?;
    match socket.get::<i32>(libc::SOL_SOCKET, option).map_err(fail)? {
        0 => Err(Error::State("the kernel accepted an option and ignored it")),
        _ => Ok(()),
    }
}

const LOCKED: Error = Error::State("the filter was locked by pktring_lock_filter");

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

    fn compose(filter: Option<&[sock_filter]>, snaplen: u32, side: Side) -> Vec<sock_filter> {
        let selection = Selection {
            filter: filter.map(|filter| Program::Classic(filter.to_vec())),
            snaplen,
            side,
        };
        match selection.program().unwrap() {
            Some(Program::Classic(program)) => program,
            _ => Vec::new(),
        }
    }

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
        let program = compose(Some(&filter), 96, Side::Both);
        assert_eq!(returns(&program), [(RET_K, 96), (RET_K, 0), (RET_K, 40)]);
    }

    #[test]
    fn computed_returns_jump_to_one_comparison_behind_the_program() {
        let filter = [statement(RET_A, 0), statement(RET_A, 0)];
        let program = compose(Some(&filter), 96, Side::Both);
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
        assert!(compose(None, 0, Side::Both).is_empty());
    }

    #[test]
    fn the_direction_is_asked_before_the_filter() {
        let jumps = |side| {
            let program = compose(None, 0, side);
            assert_eq!(program[4].k, WHOLE);
            (program[1].jt, program[1].jf)
        };
        // To the instruction that drops, or past it.
        assert_eq!(jumps(Side::In), (0, 1));
        assert_eq!(jumps(Side::Out), (1, 0));
    }

    #[test]
    fn what_is_added_must_fit_as_well() {
        let selection = Selection {
            filter: Some(Program::Classic(vec![statement(RET_K, 1); 4095])),
            snaplen: 0,
            side: Side::In,
        };
        let error = selection.program().unwrap_err().to_string();
        assert!(error.contains("4099 instructions"), "{error}");
    }
}
