// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The C++ layer costs nothing: the same work through it and through the C calls, counted in
// executed instructions, one by one. Prints what it counted; fails when C++ took more.
#include <pktring.hpp>

#include <linux/if_packet.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

// A compiler may lay out one of two equal loops better than the other by so many instructions.
#ifdef __clang__
enum { SLACK = 3 };
#else
enum { SLACK = 1 };
#endif
// What a frame of a block may take in C, with either; four or five of them ask for the cache
// lines ahead, which halves the time on memory that is not in the cache.
enum { BLOCK_LIMIT = 24 };

enum { FEW = 100, MANY = 500 };

extern "C" int left; // frames that the stand-in library still hands out

static std::vector<uint8_t> memory(1 << 20);
static volatile uint64_t sink;

// A block of so many frames.
static pktring_block block_of(uint32_t count)
{
    pktring_block block{};
    uint32_t at = 48;
    for (uint32_t i = 0; i < count; i++, at += 152) {
        tpacket3_hdr header{};
        header.tp_next_offset = i + 1 == count ? 0 : 152;
        header.tp_status = TP_STATUS_USER;
        header.tp_snaplen = header.tp_len = 64;
        header.tp_mac = 82;
        memcpy(&memory[at], &header, sizeof header);
    }
    block.base = memory.data();
    block.size = 1 << 20;
    block.first_offset = 48;
    block.length = at;
    block.frame_count = count;
    return block;
}

static uint64_t first_bytes(const uint8_t *from)
{
    uint64_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

__attribute__((noinline)) static void c_frames(int count)
{
    pktring_frame frame;
    uint64_t sum = 0;
    left = count;
    while (pktring_next_frame(nullptr, &frame) == 1) {
        sum += first_bytes(frame.data) + frame.len + frame.timestamp;
        pktring_release(nullptr, &frame);
    }
    sink = sum;
}

__attribute__((noinline)) static void cpp_frames(int count)
{
    pktring::handle handle;
    uint64_t sum = 0;
    left = count;
    for (const pktring::frame &frame : handle.frames())
        sum += first_bytes(frame.bytes().data()) + frame.len + frame.timestamp;
    sink = sum;
}

__attribute__((noinline)) static void c_block(int count)
{
    pktring_block block = block_of(static_cast<uint32_t>(count));
    pktring_iter iter;
    pktring_frame frame;
    uint64_t sum = 0;
    int result;
    pktring_iter_init(&iter, &block);
    while ((result = pktring_iter_next(&iter, &frame)) == 1)
        sum += first_bytes(frame.data) + frame.len + frame.timestamp;
    sink = sum;
    // The C++ loop looks for corruption, too.
    if (result < 0)
        abort();
}

__attribute__((noinline)) static void cpp_block(int count)
{
    pktring_block block = block_of(static_cast<uint32_t>(count));
    uint64_t sum = 0;
    for (const pktring::frame &frame : pktring::block_frames(block))
        sum += first_bytes(frame.bytes().data()) + frame.len + frame.timestamp;
    sink = sum;
}

__attribute__((noinline)) static void only_fill(int count)
{
    pktring_block block = block_of(static_cast<uint32_t>(count));
    sink = block.length;
}

static void wanted(bool right, const char *what)
{
    if (!right) {
        perror(what);
        exit(2);
    }
}

// Instructions that a child executes in work(count), single-stepped.
static long steps(void (*work)(int), int count)
{
    pid_t child = fork();
    wanted(child >= 0, "fork");
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        raise(SIGSTOP);
        work(count);
        raise(SIGSTOP);
        _exit(0);
    }
    int status;
    wanted(waitpid(child, &status, 0) == child && WIFSTOPPED(status), "ptrace");
    long counted = 0;
    do {
        wanted(ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr) == 0, "single step");
        wanted(waitpid(child, &status, 0) == child && WIFSTOPPED(status), "step");
        counted++;
    } while (WSTOPSIG(status) == SIGTRAP);
    ptrace(PTRACE_KILL, child, nullptr, nullptr);
    waitpid(child, &status, 0);
    return counted;
}

static double per_frame(void (*work)(int))
{
    return static_cast<double>(steps(work, MANY) - steps(work, FEW)) / (MANY - FEW);
}

static int compare(const char *what, double c, double cpp)
{
    printf("%s: %.2f instructions a frame in C, %.2f in C++\n", what, c, cpp);
    return cpp > c + SLACK;
}

int main()
{
    double fill = per_frame(only_fill);
    int worse = compare("frames", per_frame(c_frames), per_frame(cpp_frames));
    double c = per_frame(c_block) - fill;
    worse += compare("blocks", c, per_frame(cpp_block) - fill);
    if (c > BLOCK_LIMIT) {
        printf("a frame of a block takes more than %d instructions\n", BLOCK_LIMIT);
        worse++;
    }
    return worse;
}
