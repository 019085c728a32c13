/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * pktring-capture: shows what arrives at an interface, or writes it to pcapng files.
 *
 * Each thread receives through a ring of its own; all write to one file, one at a time. The main
 * thread watches the clock.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tools/cli.h"
#include "tools/describe.h"
#include "tools/filter.h"
#include "tools/pcapng.h"

enum {
    THREADS = 64,
    INTERFACES = 256,
    AT_ONCE = 4096, /* frames, before it is looked whether to stop */
};

static const char help[] =
    "Usage: pktring-capture [OPTION]... INTERFACE [FILTER EXPRESSION]\n"
    "Shows what arrives at INTERFACE (or \"any\"), or writes it to a pcapng file, until ^C.\n"
    "\n"
    "  -w, --write FILE       write to FILE; -: standard output\n"
    "  -s, --snaplen BYTES    keep at most so much of each packet (all)\n"
    "  -p, --no-promisc       only packets for this host\n"
    "  -Q, --inbound          not what this host sends\n"
    "  -c, --count N          end after N packets\n"
    "  -d, --duration SECONDS end after that time\n"
    "  -C, --rotate-size BYTES    begin another file when one has reached that size\n"
    "  -G, --rotate-time SECONDS  begin another file after that time\n"
    "  -W, --files N          when rotating, keep the last N files only\n"
    "  -t, --threads N        receive with N threads, each a ring of its own (1)\n"
    "  -f, --fanout MODE      share packets among threads by hash, lb, cpu, rollover, rnd, qm\n"
    "                         (hash)\n"
    "  -B, --buffer BYTES     size of each ring (64M)\n"
    "  -q, --quiet            no statistics\n"
    "  -h, --help, -V, --version\n"
    "\n"
    "Numbers may end with K, M or G. Files are numbered when rotating: FILE_00001.pcapng.\n"
    "\n"
    "Exit status: 0 ended as asked for; 1 failure; 2 bad command line.\n";

static struct {
    const char *device, *output;
    char *expression;
    uint32_t snaplen, threads, fanout, files;
    uint64_t count, duration_ns, rotate_size, rotate_ns, buffer;
    bool any, promisc, inbound, quiet;
} set = {.threads = 1, .promisc = true};

static pktring_t *handles[THREADS];

/* What the threads share, under the lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t captured, captured_bytes, unlabelled, repeated;
static int status = DONE;
static struct {
    struct pcapng pcapng;
    bool open;
    uint32_t number; /* of the file, when rotating */
    uint64_t begun_ns; /* on the wall clock */
    struct pktring_stats told; /* in the files before it */
    char name[4096];
    int ifindex[INTERFACES]; /* of the interfaces described in it */
    uint32_t interfaces;
} file;
static unsigned running;

static void stop_all(void)
{
    stopping = 1;
    for (unsigned i = 0; i < set.threads; i++)
        pktring_breakloop(handles[i]);
}

static struct pktring_stats total_stats(void)
{
    struct pktring_stats sum = {.size = sizeof sum}, one;

    for (unsigned i = 0; i < set.threads; i++) {
        one = (struct pktring_stats){.size = sizeof one};
        if (pktring_stats(handles[i], &one) != 0)
            continue;
        sum.received += one.received;
        sum.dropped += one.dropped;
        sum.frames += one.frames;
    }
    sum.received -= repeated;
    sum.frames -= repeated;
    return sum;
}

/* ---- files ----------------------------------------------------------------------------- */

/* NAME.pcapng and 7 make NAME_00007.pcapng. */
static void name_file(char *name, size_t size, uint32_t number)
{
    const char *slash = strrchr(set.output, '/');
    const char *dot = strrchr(slash != NULL ? slash : set.output, '.');
    int stem = dot != NULL ? (int)(dot - set.output) : (int)strlen(set.output);

    if (set.rotate_size == 0 && set.rotate_ns == 0)
        snprintf(name, size, "%s", set.output);
    else
        snprintf(name, size, "%.*s_%05" PRIu32 "%s", stem, set.output, number,
                 dot != NULL ? dot : "");
}

static void describe_interface(const char *name, int linktype)
{
    enum { RAW_IP = 12, RAW_IP_IN_FILES = 101 }; /* the one that differs */

    pcapng_interface(&file.pcapng, name, linktype == RAW_IP ? RAW_IP_IN_FILES : (uint16_t)linktype,
                     set.snaplen, set.expression);
}

/* False: that failed; a line says why. */
static bool begin_file(void)
{
    char old[sizeof file.name];
    int fd, error;

    file.number++;
    name_file(file.name, sizeof file.name, file.number);
    fd = strcmp(file.name, "-") == 0
             ? STDOUT_FILENO
             : open(file.name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    error = fd < 0 ? errno : pcapng_begin(&file.pcapng, fd, "pktring-capture");
    if (error != 0) {
        complain("%s: %s", file.name, strerror(error));
        status = FAILED;
        return false;
    }
    file.open = true;
    file.begun_ns = realtime_ns();
    file.interfaces = 0;
    if (!set.any)
        describe_interface(set.device, pktring_linktype(handles[0]));
    if (set.files != 0 && file.number > set.files) {
        name_file(old, sizeof old, file.number - set.files);
        unlink(old);
    }
    return pcapng_flush(&file.pcapng) == 0; /* if not, end_file() tells */
}

/* What a counter has counted since it was told last: over all files it adds up. (It can be less
 * than before, when frames turn out to have come twice.) */
static uint64_t more(uint64_t now, uint64_t *told)
{
    uint64_t more = now > *told ? now - *told : 0;

    *told += more;
    return more;
}

static void end_file(void)
{
    struct pktring_stats now = total_stats();
    struct pcapng_counters counters = {
        .start_ns = file.begun_ns,
        .end_ns = realtime_ns(),
        .received = more(now.received, &file.told.received),
        .dropped = more(now.dropped, &file.told.dropped),
        .delivered = more(now.frames, &file.told.frames),
    };
    int error;

    if (!file.open)
        return;
    if (!set.any || file.interfaces > 0)
        pcapng_statistics(&file.pcapng, 0, &counters,
                          set.any ? "counters of all interfaces together" : NULL);
    error = pcapng_end(&file.pcapng);
    if (close(file.pcapng.fd) != 0 && error == 0)
        error = errno;
    file.open = false;
    if (error != 0 && status == DONE) {
        complain("%s: %s; %" PRIu64 " packets are in it", file.name, strerror(error),
                 file.pcapng.packets);
        status = FAILED;
    }
}

/* A write failed: nothing more to do than to stop. */
static bool file_failed(void)
{
    if (file.open && file.pcapng.error == 0)
        return false;
    stop_all();
    return true;
}

/* The number of the frame's interface in the file; -1 when it has no link type. */
static int interface_number(const struct pktring_frame *frame)
{
    char name[IF_NAMESIZE];
    int linktype;

    if (!set.any)
        return 0;
    for (uint32_t i = 0; i < file.interfaces; i++)
        if (file.ifindex[i] == frame->addr->ifindex)
            return (int)i;
    linktype = pktring_hardware_linktype(frame->addr->hatype, PKTRING_RAW);
    if (linktype < 0 || file.interfaces == INTERFACES)
        return -1;
    if (if_indextoname((unsigned)frame->addr->ifindex, name) == NULL)
        snprintf(name, sizeof name, "if%d", frame->addr->ifindex); /* gone again */
    describe_interface(name, linktype);
    file.ifindex[file.interfaces] = frame->addr->ifindex;
    return (int)file.interfaces++;
}

/* ---- packets --------------------------------------------------------------------------- */

static bool outgoing(const struct pktring_frame *frame)
{
    return frame->addr->pkttype == 4; /* PACKET_OUTGOING */
}

/* What leaves through the loopback interface comes in there as well: once is enough. */
static bool comes_again(const struct pktring_frame *frame)
{
    return outgoing(frame) && frame->addr->hatype == ARPHRD_LOOPBACK;
}

static void show(const struct pktring_frame *frame)
{
    char text[256], name[IF_NAMESIZE] = "";
    time_t seconds = (time_t)(frame->timestamp / 1000000000);
    struct tm *local = localtime(&seconds);

    describe(text, sizeof text, pktring_hardware_linktype(frame->addr->hatype, PKTRING_RAW),
             frame->data, frame->caplen);
    if (set.any)
        if_indextoname((unsigned)frame->addr->ifindex, name);
    printf("%02d:%02d:%02d.%09" PRIu64 " %s%s%s %4" PRIu32 " %s\n", local->tm_hour, local->tm_min,
           local->tm_sec, frame->timestamp % 1000000000, name, set.any ? " " : "",
           outgoing(frame) ? "out" : "in ", frame->len, text);
}

static void store(const struct pktring_frame *frame)
{
    int interface = interface_number(frame);

    if (interface < 0) {
        unlabelled++;
        return;
    }
    if (set.rotate_size != 0 && file.pcapng.size >= set.rotate_size) {
        end_file();
        if (!begin_file())
            return;
        interface = interface_number(frame);
    }
    pcapng_packet(&file.pcapng, (uint32_t)interface, frame->timestamp, frame->data, frame->caplen,
                  frame->len, outgoing(frame) ? PCAPNG_OUTBOUND : PCAPNG_INBOUND);
}

static void take(void *user, const struct pktring_frame *taken)
{
    struct pktring_frame frame = *taken;

    /* Put the VLAN tag back that the kernel took off. Where there is no place for it (the frame
     * was cut before) the rest is kept as it is. */
    if (pktring_vlan_reinsert(user, &frame) == 1 && set.snaplen != 0 && frame.caplen > set.snaplen)
        frame.caplen = set.snaplen;
    pthread_mutex_lock(&lock);
    if (comes_again(&frame)) {
        repeated++;
    } else if ((set.count == 0 || captured < set.count) && !(set.output != NULL && file_failed())) {
        captured++;
        captured_bytes += frame.len;
        if (set.output != NULL)
            store(&frame);
        else
            show(&frame);
        if (captured == set.count)
            stop_all();
    }
    pthread_mutex_unlock(&lock);
}

/* Whether to go on after what dispatch returned. */
static bool survivable(pktring_t *handle, int result)
{
    if (result >= 0 || result == -ECANCELED || result == -EBADMSG)
        return true; /* frames that could not be right are counted, and skipped */
    complain_of(handle, set.device, result);
    if (result == -ENETDOWN)
        return true; /* it goes on when the interface comes up */
    pthread_mutex_lock(&lock);
    status = FAILED;
    pthread_mutex_unlock(&lock);
    return false;
}

/* Takes what the ring holds: goes on until the kernel must have handed over the block that it was
 * filling. No more comes in meanwhile, so that what was received is what was captured. */
static void drain(pktring_t *handle)
{
    struct sock_filter nothing = {BPF_RET | BPF_K, 0, 0, 0};
    struct sock_fprog program = {1, &nothing};
    struct pktring_ring ring = {.size = sizeof ring};
    uint64_t deadline = monotonic_ns() + 100000000;
    int result;

    /* Past the library, whose filters hold for what is in the ring, too. */
    setsockopt(pktring_fd(handle), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
    if (pktring_get_ring(handle, PKTRING_RX, &ring) == 0 && ring.retire_timeout_ms < 10000)
        deadline += 2 * ring.retire_timeout_ms * UINT64_C(1000000);
    do
        result = pktring_dispatch(handle, AT_ONCE, 20, take, handle);
    while ((result >= 0 || result == -ECANCELED || result == -EBADMSG) &&
           monotonic_ns() < deadline);
    if (result < 0 && result != -ECANCELED && result != -EBADMSG)
        complain_of(handle, set.device, result);
}

static void *receive(void *handle)
{
    while (!stopping && survivable(handle, pktring_dispatch(handle, AT_ONCE, -1, take, handle)))
        ;
    if (!stopping)
        stop_all(); /* this thread's end is everybody's */
    drain(handle);
    pthread_mutex_lock(&lock);
    running--;
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* ---- the main thread ------------------------------------------------------------------- */

static uint32_t fanout_mode(const char *text)
{
    static const char *const names[] = {"hash", "lb", "cpu", "rollover", "rnd", "qm"};

    for (uint32_t mode = 0; mode < sizeof names / sizeof *names; mode++)
        if (strcmp(text, names[mode]) == 0)
            return mode;
    die(USAGE, "--fanout: '%s' is none of hash, lb, cpu, rollover, rnd, qm", text);
}

/* Bytes that the machine has. The kernel would try to give more, and take it from everybody. */
static uint64_t memory(void)
{
    return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"write", 1, NULL, 'w'},       {"snaplen", 1, NULL, 's'},
        {"no-promisc", 0, NULL, 'p'},  {"inbound", 0, NULL, 'Q'},
        {"count", 1, NULL, 'c'},       {"duration", 1, NULL, 'd'},
        {"rotate-size", 1, NULL, 'C'}, {"rotate-time", 1, NULL, 'G'},
        {"files", 1, NULL, 'W'},       {"threads", 1, NULL, 't'},
        {"fanout", 1, NULL, 'f'},      {"buffer", 1, NULL, 'B'},
        {"quiet", 0, NULL, 'q'},       {"help", 0, NULL, 'h'},
        {"version", 0, NULL, 'V'},     {0},
    };
    int option;
    size_t length = 1;

    while ((option = getopt_long(argc, argv, "w:s:pQc:d:C:G:W:t:f:B:qhV", options, NULL)) != -1) {
        switch (option) {
        case 'w': set.output = optarg; break;
        case 's': set.snaplen = number("--snaplen", optarg, 1, 262144); break;
        case 'p': set.promisc = false; break;
        case 'Q': set.inbound = true; break;
        case 'c': set.count = number("--count", optarg, 1, UINT64_MAX); break;
        case 'd': set.duration_ns = positive("--duration", optarg) * 1e9; break;
        case 'C': set.rotate_size = number("--rotate-size", optarg, 1, UINT64_MAX); break;
        case 'G': set.rotate_ns = positive("--rotate-time", optarg) * 1e9; break;
        case 'W': set.files = number("--files", optarg, 1, 99999); break;
        case 't': set.threads = number("--threads", optarg, 1, THREADS); break;
        case 'f': set.fanout = fanout_mode(optarg); break;
        case 'B': set.buffer = number("--buffer", optarg, 65536, UINT64_C(1) << 40); break;
        case 'q': set.quiet = true; break;
        case 'h': fputs(help, stdout); exit(DONE);
        case 'V': printf("pktring-capture (libpktring %s)\n", pktring_version()); exit(DONE);
        default: bad_usage();
        }
    }
    if (optind == argc)
        die(USAGE, "no interface given; see --help");
    set.device = argv[optind++];
    set.any = strcmp(set.device, "any") == 0;
    if ((set.rotate_size != 0 || set.rotate_ns != 0) &&
        (set.output == NULL || strcmp(set.output, "-") == 0))
        die(USAGE, "rotation needs --write FILE");
    if (set.output != NULL && strcmp(set.output, "-") == 0 && isatty(STDOUT_FILENO))
        die(USAGE, "--write: standard output is a terminal, which a capture file would garble");
    if (set.buffer > memory() / set.threads)
        die(USAGE, "--buffer: so much for each of %" PRIu32 " threads is more than the %" PRIu64
            " bytes of memory", set.threads, memory());
    if (set.files != 0 && set.rotate_size == 0 && set.rotate_ns == 0)
        die(USAGE, "--files needs --rotate-size or --rotate-time");
    if (optind == argc)
        return;
    for (int i = optind; i < argc; i++)
        length += strlen(argv[i]) + 1;
    set.expression = calloc(1, length);
    if (set.expression == NULL)
        die(FAILED, "out of memory");
    for (int i = optind; i < argc; i++)
        strcat(strcat(set.expression, i > optind ? " " : ""), argv[i]);
}

static void set_buffer(pktring_t *handle)
{
    struct pktring_budget budget = {.size = sizeof budget, .memory = set.buffer,
                                    .version = PKTRING_V3, .direction = PKTRING_RX,
                                    .frame_length = 262144};
    struct pktring_ring ring = {.size = sizeof ring};
    char error[PKTRING_ERRBUF_SIZE];

    if (pktring_ring_fit(&budget, &ring, error) != 0)
        die(USAGE, "--buffer: %s", error);
    check(handle, set.device, pktring_set_ring(handle, PKTRING_RX, &ring));
}

static void close_group(void) { pktring_group_close(handles, set.threads); }

static void open_rings(void)
{
    pktring_t *handle = open_or_die(set.device);
    struct pktring_fanout fanout = {.size = sizeof fanout, .mode = set.fanout,
                                    .flags = PKTRING_FANOUT_FLAG_UNIQUEID};

    if (set.snaplen != 0)
        check(handle, set.device, pktring_set_snaplen(handle, set.snaplen));
    if (set.promisc && !set.any)
        check(handle, set.device, pktring_set_promisc(handle, 1));
    if (set.inbound)
        check(handle, set.device, pktring_set_ignore_outgoing(handle, 1));
    if (set.buffer != 0)
        set_buffer(handle);
    if (set.expression != NULL)
        set_filter(handle, set.device, set.expression);
    if (set.threads == 1) {
        check(handle, set.device, pktring_activate(handle));
        handles[0] = handle;
    } else {
        if (set.inbound)
            fanout.flags |= PKTRING_FANOUT_FLAG_IGNORE_OUTGOING;
        check(handle, set.device, pktring_set_fanout(handle, &fanout));
        check(handle, set.device, pktring_group_open(handle, handles, set.threads));
        atexit(close_group);
    }
    if (!set.any)
        check(handles[0], set.device, pktring_linktype(handles[0]));
}

/* The chores of an instant; whether threads still run. */
static bool watch(uint64_t begun)
{
    static uint64_t shown, shown_ns, flushed_ns;
    uint64_t now = monotonic_ns();
    struct pktring_stats stats;
    bool more;

    if (set.duration_ns != 0 && now - begun >= set.duration_ns && !stopping)
        stop_all();
    pthread_mutex_lock(&lock);
    more = running > 0;
    if (file.open && set.rotate_ns != 0 && realtime_ns() - file.begun_ns >= set.rotate_ns &&
        !stopping) {
        end_file();
        if (!begin_file())
            stop_all();
    }
    if (now - flushed_ns >= 200000000) { /* so that others can follow the file or the output */
        flushed_ns = now;
        if (file.open && file.pcapng.unflushed > 0 && pcapng_flush(&file.pcapng) != 0)
            stop_all();
        if (set.output == NULL && !stopping && !flush_output())
            stop_all(); /* nobody can see what comes */
    }
    if (!set.quiet && set.output != NULL && progress_due()) {
        stats = total_stats();
        progress_show("%" PRIu64 " packets, %.1f MB, %" PRIu64 " dropped, %.1f kpps",
                    captured, captured_bytes / 1e6, stats.dropped,
                    (captured - shown) * 1e6 / (now - (shown_ns ? shown_ns : begun)));
        shown = captured;
        shown_ns = now;
    }
    pthread_mutex_unlock(&lock);
    return more;
}

int main(int argc, char **argv)
{
    static const struct timespec instant = {0, 20000000};
    pthread_t threads[THREADS];
    struct pktring_stats stats;
    uint64_t begun;

    program = "pktring-capture";
    parse(argc, argv);
    open_rings();
    if (set.output != NULL && !begin_file()) {
        end_file();
        return status;
    }
    stop_on_signals(handles, set.threads);
    if (!set.quiet)
        complain("listening on %s", set.device);
    begun = monotonic_ns();
    running = set.threads;
    for (unsigned i = 0; i < set.threads; i++)
        if (pthread_create(&threads[i], NULL, receive, handles[i]) != 0)
            die(FAILED, "cannot start a thread");
    while (watch(begun))
        nanosleep(&instant, NULL);
    for (unsigned i = 0; i < set.threads; i++)
        pthread_join(threads[i], NULL);
    progress_end();
    end_file();
    status = end_output(status);
    stats = total_stats();
    if (!set.quiet)
        complain("%" PRIu64 " packets captured, %" PRIu64 " received, %" PRIu64 " dropped",
                 captured, stats.received, stats.dropped);
    if (unlabelled > 0)
        complain("%" PRIu64 " packets of interfaces that have no link type were left out",
                 unlabelled);
    free(set.expression);
    return status;
}
