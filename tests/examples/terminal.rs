//! What the tools show on a terminal while they run, as somebody who sits there sees it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use netns::{isolated, link};
use nix::pty::{openpty, Winsize};

use crate::programs::Programs;
use crate::running::{Running, PATIENCE};
use crate::{has_libpcap, mixed, scratch, send};

nix::ioctl_write_ptr_bad!(set_size, libc::TIOCSWINSZ, Winsize);

const HEIGHT: u16 = 12;

/// What a program has drawn: the screen, and every byte.
struct Drawn {
    parser: vt100::Parser,
    raw: Vec<u8>,
}

/// A program on a terminal of its own.
struct Terminal {
    keyboard: File,
    drawn: Arc<Mutex<Drawn>>,
    reader: thread::JoinHandle<()>,
    running: Running,
}

fn size(width: u16) -> Winsize {
    Winsize {
        ws_row: HEIGHT,
        ws_col: width,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

impl Terminal {
    fn start(programs: &Programs, line: &str, width: u16, kind: &str) -> Terminal {
        let pty = openpty(Some(&size(width)), None).unwrap();
        let end = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
        let mut command = programs.command(line);
        command
            .env("TERM", kind)
            .stdin(end(&pty.slave))
            .stdout(end(&pty.slave))
            .stderr(end(&pty.slave));
        // SAFETY: two system calls, with numbers.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        let running = Running::spawn(&mut command);
        drop((command, pty.slave));
        let keyboard = File::from(pty.master);
        let drawn = Arc::new(Mutex::new(Drawn {
            parser: vt100::Parser::new(HEIGHT, width, 0),
            raw: Vec::new(),
        }));
        let (mut screen, to) = (keyboard.try_clone().unwrap(), drawn.clone());
        let reader = thread::spawn(move || {
            let mut bytes = [0; 4096];
            // It ends with an error when the program has closed the other end.
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                let mut drawn = to.lock().unwrap();
                drawn.parser.process(&bytes[..count]);
                drawn.raw.extend(&bytes[..count]);
            }
        });
        Terminal {
            keyboard,
            drawn,
            reader,
            running,
        }
    }

    /// The lines on the screen.
    fn lines(&self) -> Vec<String> {
        let drawn = self.drawn.lock().unwrap();
        let contents = drawn.parser.screen().contents();
        contents
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect()
    }

    /// Waits until the last line is one of progress that is wanted: the whole screen.
    fn wait(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        self.wait_all(|lines| lines.last().is_some_and(|line| wanted(line)))
    }

    fn wait_all(&self, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let lines = self.lines();
            if wanted(&lines) {
                return lines;
            }
            assert!(Instant::now() < deadline, "{lines:#?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn resize(&self, width: u16) {
        // SAFETY: the size outlives the call.
        unsafe { set_size(self.keyboard.as_raw_fd(), &size(width)) }.unwrap();
        let mut drawn = self.drawn.lock().unwrap();
        drawn.parser.screen_mut().set_size(HEIGHT, width);
    }

    fn interrupt(&mut self) {
        self.keyboard.write_all(b"\x03").unwrap();
    }

    /// The screen when the program has ended, and every byte that it has written.
    fn finish(self, status: i32) -> (Vec<String>, String) {
        self.running.finish(status);
        self.reader.join().unwrap();
        let drawn = self.drawn.lock().unwrap();
        let contents = drawn.parser.screen().contents();
        let lines = contents.lines().map(str::to_owned).collect();
        (lines, String::from_utf8_lossy(&drawn.raw).into_owned())
    }
}

/// The number that a line of progress starts with.
fn first_number(line: &str) -> u64 {
    let digits = line.trim_start().split(' ').next().unwrap();
    digits.parse().unwrap_or(0)
}

#[test]
fn capture_shows_one_line_that_counts_and_goes_away() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let (programs, files) = (Programs::sanitized(), scratch("terminal-capture"));
        let file = files.join("all.pcapng");
        let line = format!("pktring-capture -w {} vb", file.display());
        let mut terminal = Terminal::start(&programs, &line, 80, "xterm");
        terminal.wait(|line| line.starts_with("0 packets, 0.0 MB, 0 dropped, "));
        send("va", &mixed(300));
        let screen = terminal.wait(|line| first_number(line) == 300);
        assert_eq!(screen[0], "pktring-capture: listening on vb");
        assert_eq!(screen.len(), 2, "{screen:#?}");

        // Narrower than the line: it is cut, as this terminal cuts what stood there before.
        terminal.resize(20);
        terminal.wait(|line| line == "300 packets, 0.2");
        terminal.resize(80);
        terminal.wait(|line| line.ends_with(" kpps"));

        terminal.interrupt();
        let (screen, raw) = terminal.finish(0);
        let end = "pktring-capture: 300 packets captured, 300 received, 0 dropped";
        assert_eq!(screen[1..], [end], "{screen:#?}");
        // Each line is drawn in one go: it starts at the left, and clears what is right of it.
        let lines = raw.split('\r').filter(|line| line.contains(" kpps"));
        assert!(lines.clone().count() >= 3, "{raw:?}");
        for line in lines {
            assert!(
                line.ends_with("\x1b[K") || line.contains("\x1b[K^C"),
                "{line:?}"
            );
        }
    });
}

#[test]
fn what_is_said_meanwhile_has_a_line_of_its_own() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let programs = Programs::sanitized();
        let files = scratch("terminal-down");
        let line = format!("pktring-capture -w {}/all vb", files.display());
        let mut terminal = Terminal::start(&programs, &line, 100, "xterm");
        terminal.wait(|line| line.ends_with(" kpps"));
        link::set_down("vb").unwrap();
        let said = terminal.wait_all(|lines| lines.len() == 3 && lines[2].ends_with(" kpps"));
        assert!(said[1].starts_with("pktring-capture: vb: "), "{said:#?}");
        assert!(!said[1].contains("kpps"), "{said:#?}");
        terminal.interrupt();
        let (screen, _) = terminal.finish(0);
        assert!(screen.last().unwrap().contains("0 packets captured"));
    });
}

#[test]
fn an_interrupt_leaves_no_half_line_among_packets() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let programs = Programs::sanitized();
        let mut terminal = Terminal::start(&programs, "pktring-capture vb", 100, "xterm");
        terminal.wait(|line| line.ends_with("listening on vb"));
        let running = terminal.running;
        terminal.running = running.listening(1);
        send("va", &mixed(3));
        terminal.wait(|line| line.contains("ethertype 0x88b5"));
        terminal.interrupt();
        let (screen, _) = terminal.finish(0);
        assert_eq!(screen.len(), 5, "{screen:#?}");
        assert_eq!(
            screen[4],
            "pktring-capture: 3 packets captured, 3 received, 0 dropped"
        );
    });
}

#[test]
fn replay_shows_a_bar_that_fits_and_when_it_will_be_done() {
    if !has_libpcap() {
        return;
    }
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let (programs, files) = (Programs::sanitized(), scratch("terminal-replay"));
        let file = files.join("some.pcapng");
        let capture = programs.start(&format!("pktring-capture -c 100 -w {} vb", file.display()));
        send("va", &mixed(100));
        capture.finish(0);
        for width in [40, 80, 120] {
            let line = format!("pktring-replay -r 100 -l 3 va {}", file.display());
            let terminal = Terminal::start(&programs, &line, width, "xterm");
            let percent = |line: &str| first_number(line.split(" %").next().unwrap());
            let screen = terminal.wait(|line| percent(line) > 51);
            assert_eq!(screen.len(), 1, "{screen:#?}");
            let line = &screen[0];
            assert!(line.len() < width.into(), "{line}");
            let (bar, rest) = line.split_once(" % [").unwrap().1.split_once(']').unwrap();
            let marks = bar.chars().filter(|mark| *mark == '#').count();
            assert!(marks * 2 + 1 >= bar.len() && marks < bar.len(), "{line}");
            assert!(bar.len() >= 10, "{line}");
            if width > 40 {
                assert!(rest.ends_with(" kpps"), "{line}");
            }
            // Three seconds in all, or somewhat more on a busy machine.
            let eta = rest.strip_prefix(" ETA 00:00:").expect(line);
            assert!(eta[..2].parse::<u8>().is_ok(), "{line}");

            let (screen, _) = terminal.finish(0);
            assert!(screen[0].starts_with("300 packets sent, "), "{screen:#?}");
        }
    });
}

#[test]
fn generate_and_bridge_show_a_line_too() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let programs = Programs::sanitized();
        let mut bridge = Terminal::start(&programs, "pktring-bridge va vb", 80, "xterm");
        bridge.wait(|line| line == "va > vb 0 (0 dropped)  vb > va 0 (0 dropped)");
        bridge.interrupt();
        let (screen, _) = bridge.finish(0);
        assert_eq!(screen.len(), 3, "{screen:#?}");
        assert!(
            screen[1].starts_with("va > vb: 0 frames passed"),
            "{screen:#?}"
        );

        let mut receiver = Terminal::start(&programs, "pktring-generate -R vb", 80, "xterm");
        receiver.wait(|line| line.starts_with("0 arrived, 0 missing"));
        let mut sender = Terminal::start(&programs, "pktring-generate -r 100 va", 80, "xterm");
        sender.wait(|line| first_number(line) > 50 && line.contains(" sent, 0 refused, "));
        receiver.wait(|line| first_number(line) > 50);
        sender.interrupt();
        let (screen, _) = sender.finish(0);
        assert!(screen[0].contains(" packets sent, "), "{screen:#?}");
        receiver.interrupt();
        let (screen, _) = receiver.finish(0);
        assert!(
            screen[1].contains(" packets arrived, 0 lost"),
            "{screen:#?}"
        );
    });
}

/// Where there is no terminal, or one that cannot clear a line, nothing of it is to be seen.
#[test]
fn without_a_terminal_there_is_no_line() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let programs = Programs::sanitized();
        let dumb = Terminal::start(&programs, "pktring-generate -r 50 -c 50 va", 80, "dumb");
        let (screen, raw) = dumb.finish(0);
        assert_eq!(screen.len(), 1, "{raw:?}");
        assert!(!raw.contains('\x1b'), "{raw:?}");

        let output = programs
            .start_now("pktring-generate -r 50 -c 50 va")
            .finish(0);
        assert!(output.stderr.is_empty(), "{output:?}");
        assert_eq!(crate::text(&output.stdout).lines().count(), 1);
    });
}

/// A capture file is nothing for a terminal.
#[test]
fn a_capture_file_is_not_written_to_a_terminal() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let programs = Programs::sanitized();
        let terminal = Terminal::start(&programs, "pktring-capture -w - vb", 100, "xterm");
        let (screen, _) = terminal.finish(2);
        assert_eq!(screen.len(), 1, "{screen:#?}");
        assert!(screen[0].contains("standard output is a terminal"));
    });
}
