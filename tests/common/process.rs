//! Facts about the calling thread and process.

use std::time::Duration;

/// Processor time that the calling thread has used.
pub fn thread_cpu_time() -> Duration {
    // SAFETY: rusage is plain data, valid as zeroes, and filled by the kernel.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, &mut usage), 0);
        usage
    };
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// Packet sockets in the calling thread's network namespace.
pub fn packet_sockets() -> usize {
    let table = std::fs::read_to_string("/proc/thread-self/net/packet").unwrap();
    table.lines().count() - 1
}

/// Bytes of memory that the system could give away.
pub fn available_memory() -> u64 {
    let table = std::fs::read_to_string("/proc/meminfo").unwrap();
    let line = table.lines().find(|line| line.starts_with("MemAvailable:"));
    let field = line.and_then(|line| line.split_whitespace().nth(1));
    field.unwrap().parse::<u64>().unwrap() << 10
}

/// Runs `body` in a child made by fork and returns its exit status. The child must only make
/// calls that are allowed after a fork of a program with threads.
pub fn forked(body: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child runs `body`, which the caller vouches for, and leaves without running
    // anything of the parent's.
    unsafe {
        match libc::fork() {
            0 => libc::_exit(body()),
            child => {
                assert!(child > 0);
                let mut status = 0;
                assert_eq!(libc::waitpid(child, &mut status, 0), child);
                assert!(libc::WIFEXITED(status), "the child was killed: {status:#x}");
                libc::WEXITSTATUS(status)
            }
        }
    }
}
