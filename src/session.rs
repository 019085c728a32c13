//! An activated socket: what both directions of a handle share, and how they wait.

#![forbid(unsafe_code)]

use crate::activate::Rings;
use crate::config::Config;
use crate::error::Result;
use crate::fanout::Fanout;
use crate::link::Link;
use crate::options::Options;
use crate::ring::geometry::{Mode, Version, RETIRE_KERNEL};
use crate::stats::Accumulator;
use crate::sys::call::{monotonic_ns, PacketSocket};
use crate::tx::{self, Limits};
use crate::wait::{Interrupt, Sleeper};
use std::fs::File;
use std::sync::Arc;

/// Everything about an active handle that is not one direction's own.
pub struct Session {
    pub socket: PacketSocket,
    pub link: Link,
    /// Bytes an interface takes behind the link-level header, as it was at activation.
    pub mtu: Option<u32>,
    pub version: Version,
    pub mode: Mode,
    /// As they were at activation.
    pub options: Options,
    /// Flags that the rings were mapped with.
    pub map_flags: i32,
    pub rings: Rings,
    /// The group that the socket is a member of.
    pub fanout: Option<Fanout>,
    pub kernel: Accumulator,
    pub tx_counters: Option<Arc<tx::Counters>>,
    pub rx_sleeper: Option<Sleeper>,
    pub tx_sleeper: Option<Sleeper>,
    pub both_sleeper: Option<Sleeper>,
    spin_ns: u64,
    /// Keeps processors from sleeping deeply.
    pub awake: Option<File>,
}

/// How often a wait without limit looks whether an interface that is down was removed, and one
/// for transmission whether it still exists; the kernel announces neither.
const TICK_MS: i32 = 250;

/// Bytes of an Ethernet header, which loopback has, too.
const ETHERNET_HEADER: u32 = 14;

/// A moment to give up at.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Option<u64>);

impl Deadline {
    /// `timeout_ms` from now; negative: never.
    pub fn after_ms(timeout_ms: i32) -> Deadline {
        Deadline(
            u64::try_from(timeout_ms)
                .ok()
                .map(|ms| monotonic_ns() + ms * 1_000_000),
        )
    }

    /// Milliseconds left, rounded up, at most `most`; `most` when there is no limit.
    pub fn left_ms(&self, most: i32) -> i32 {
        match self.0 {
            None => most,
            Some(end) => {
                let left = (Deadline::left_ns(end) + 999_999) / 1_000_000;
                i32::try_from(left).unwrap_or(i32::MAX).min(most)
            }
        }
    }

    /// Whether the moment has passed.
    pub fn passed(&self) -> bool {
        self.0.map_or(false, |end| Deadline::left_ns(end) == 0)
    }

    /// Nanoseconds until `end`. None when the clock does not tell (0), which only a filter of
    /// system calls can bring about: a wait that ends early is better than one that does not.
    fn left_ns(end: u64) -> u64 {
        match monotonic_ns() {
            0 => 0,
            now => end.saturating_sub(now),
        }
    }
}

impl Session {
    pub fn new(
        socket: PacketSocket,
        link: Link,
        mtu: Option<u32>,
        config: &Config,
        rings: Rings,
        fanout: Option<Fanout>,
        interrupt: &Interrupt,
    ) -> Result<Session> {
        let sleeper =
            |wanted: bool, events: i32| wanted.then(|| Sleeper::new(interrupt, events)).transpose();
        let (rx, tx) = (rings.rx.is_some(), rings.tx.is_some());
        Ok(Session {
            rx_sleeper: sleeper(rx, libc::EPOLLIN)?,
            tx_sleeper: sleeper(tx, libc::EPOLLOUT)?,
            both_sleeper: sleeper(rx && tx, libc::EPOLLIN | libc::EPOLLOUT)?,
            socket,
            link,
            mtu,
            version: config.version,
            mode: config.mode,
            options: config.options,
            map_flags: config.tuning.map_flags,
            rings,
            fanout,
            kernel: Accumulator::default(),
            tx_counters: None,
            spin_ns: u64::from(config.spin_us) * 1000,
            awake: config.tuning.stay_awake()?,
        })
    }

    /// How long frames may be that this handle sends.
    pub fn limits(&self) -> Limits {
        let ethernet = self.link.hardware == libc::ARPHRD_ETHER;
        let header = match self.mode {
            Mode::Raw if ethernet || self.link.hardware == libc::ARPHRD_LOOPBACK => ETHERNET_HEADER,
            _ => 0,
        };
        Limits {
            header,
            // Without an interface of its own, the kernel's verdict counts.
            mtu: self.mtu.unwrap_or(u32::MAX),
            vlan: ethernet && self.mode == Mode::Raw,
            vnet_header: self.options.vnet_header,
        }
    }

    /// The MTU as it is now, or as it was at activation where the interface cannot be asked.
    pub fn current_mtu(&self) -> u32 {
        let now = self
            .socket
            .interface_name(self.link.ifindex)
            .and_then(|name| self.socket.mtu(&name));
        now.ok().or(self.mtu).unwrap_or(u32::MAX)
    }

    /// How long after the interface went down the kernel may still hand over received frames.
    fn grace_ns(&self) -> u64 {
        let retire = match self.rings.rx.map_or(0, |ring| ring.retire_timeout) {
            // More than the kernel ever chooses for the blocks of any interface that is used.
            RETIRE_KERNEL => 20,
            milliseconds => milliseconds,
        };
        (u64::from(retire) + 5) * 1_000_000
    }

    /// Waits until `ready` says yes, for at most `timeout_ms` milliseconds (-1: without limit).
    /// `Ok(false)`: time is up.
    pub fn wait_until(
        &self,
        mut ready: impl FnMut() -> Result<bool>,
        sleeper: Option<&Sleeper>,
        interrupt: &Interrupt,
        timeout_ms: i32,
        mut woken_up: impl FnMut(),
    ) -> Result<bool> {
        let deadline = Deadline::after_ms(timeout_ms);
        let mut spin_end = None;
        loop {
            interrupt.check()?;
            if ready()? {
                self.link.note_traffic(self.grace_ns());
                return Ok(true);
            }
            self.link.report(&self.socket, self.grace_ns())?;
            if self.spin_ns != 0 {
                let end = *spin_end.get_or_insert_with(|| monotonic_ns() + self.spin_ns);
                if monotonic_ns() < end && !(timeout_ms >= 0 && deadline.passed()) {
                    std::hint::spin_loop();
                    continue;
                }
            }
            let sleeper = match sleeper {
                Some(sleeper) => sleeper,
                None => return Ok(false),
            };
            let woken = sleeper.sleep(&self.socket, interrupt, self.sleep_ms(&deadline))?;
            if woken.error {
                self.link.take_error(&self.socket)?;
            }
            if woken.timeout {
                if !self.is_told() {
                    self.link.check_gone(&self.socket);
                }
                if deadline.passed() {
                    let is_ready = ready()?;
                    // The error was taken from the socket, so nothing would bring a caller with
                    // an event loop of its own back for it.
                    if timeout_ms == 0 && !is_ready {
                        self.link.report_at_once()?;
                    }
                    return Ok(is_ready);
                }
            } else {
                spin_end = None;
                woken_up();
            }
        }
    }

    /// The thread that transmits goes on with it. Frames that are sent wake nobody then.
    pub fn transmits(&self) {
        for sleeper in [&self.tx_sleeper, &self.both_sleeper].into_iter().flatten() {
            sleeper.rest(&self.socket);
        }
    }

    /// How long to sleep in one go.
    fn sleep_ms(&self, deadline: &Deadline) -> i32 {
        let grace = (self.link.grace_left(self.grace_ns()) + 999_999) / 1_000_000;
        let most = if grace != 0 {
            grace as i32
        } else if self.is_told() {
            i32::MAX
        } else {
            TICK_MS
        };
        deadline.left_ms(most)
    }

    /// Whether the kernel will announce the end of the interface: it does to a socket that
    /// receives, while the interface is up.
    fn is_told(&self) -> bool {
        self.link.is_up() && self.rings.rx.is_some()
    }
}
