/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * pktring-replay: sends the packets of a capture file through a transmit ring.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tools/cli.h"
#include "tools/sender.h"

static const char help[] =
    "Usage: pktring-replay [OPTION]... INTERFACE FILE\n"
    "Sends the packets of a pcap or pcapng FILE (-: standard input) through INTERFACE, with the\n"
    "gaps that they were captured with.\n"
    "\n"
    "  -x, --speed FACTOR     so many times as fast\n"
    "  -r, --rate N           N packets a second instead\n"
    "  -m, --mbps N           N megabits a second instead\n"
    "  -t, --top-speed        as fast as possible instead\n"
    "  -l, --loop N           send the file N times (1); 0: until ^C\n"
    "  -c, --count N          end after N packets\n"
    "  -b, --bypass           past the interface's queueing discipline\n"
    "  -q, --quiet            no progress and no result\n"
    "  -h, --help, -V, --version\n"
    "\n"
    "Exit status: 0 all sent; 1 failure, or some were not sent; 2 bad command line.\n";

#ifdef HAVE_LIBPCAP

#include <pcap/pcap.h>

enum pace { GAPS, PACKETS, MEGABITS, TOP_SPEED };

static struct {
    const char *device, *path;
    enum pace pace;
    double value; /* factor, packets a second, or megabits a second */
    uint64_t loops, count;
    bool bypass, quiet;
} set = {.value = 1, .loops = 1};

static struct sender sender;
static uint64_t read_packets, read_bytes, cut; /* so far; cut: captured in part only */
static uint64_t begun_ns;

static void set_pace(enum pace pace, double value)
{
    if (set.pace != GAPS || set.value != 1)
        die(USAGE, "only one of --speed, --rate, --mbps and --top-speed can be given");
    set.pace = pace;
    set.value = value;
}

static void parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"speed", 1, NULL, 'x'},  {"rate", 1, NULL, 'r'},  {"mbps", 1, NULL, 'm'},
        {"top-speed", 0, NULL, 't'}, {"loop", 1, NULL, 'l'},  {"count", 1, NULL, 'c'},
        {"bypass", 0, NULL, 'b'}, {"quiet", 0, NULL, 'q'}, {"help", 0, NULL, 'h'},
        {"version", 0, NULL, 'V'}, {0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "x:r:m:tl:c:bqhV", options, NULL)) != -1) {
        switch (option) {
        case 'x': set_pace(GAPS, positive("--speed", optarg)); break;
        case 'r': set_pace(PACKETS, number("--rate", optarg, 1, 1000000000)); break;
        case 'm': set_pace(MEGABITS, positive("--mbps", optarg)); break;
        case 't': set_pace(TOP_SPEED, 0); break;
        case 'l': set.loops = number("--loop", optarg, 0, UINT64_MAX); break;
        case 'c': set.count = number("--count", optarg, 1, UINT64_MAX); break;
        case 'b': set.bypass = true; break;
        case 'q': set.quiet = true; break;
        case 'h': fputs(help, stdout); exit(DONE);
        case 'V': printf("pktring-replay (libpktring %s)\n", pktring_version()); exit(DONE);
        default: bad_usage();
        }
    }
    if (argc - optind != 2)
        die(USAGE, "an interface and a file are needed; see --help");
    set.device = argv[optind];
    set.path = argv[optind + 1];
    one_interface(set.device);
    if (strcmp(set.path, "-") == 0 && set.loops != 1)
        die(USAGE, "--loop: standard input can be read once only");
}

static pcap_t *open_file(void)
{
    char error[PCAP_ERRBUF_SIZE];
    pcap_t *file =
        pcap_open_offline_with_tstamp_precision(set.path, PCAP_TSTAMP_PRECISION_NANO, error);
    int linktype = pktring_linktype(sender.handle);

    if (file == NULL) {
        /* libpcap says which file when it cannot be opened, but not when it is none. */
        if (strstr(error, set.path) != NULL)
            die(FAILED, "%s", error);
        die(FAILED, "%s: %s", set.path, error);
    }
    if (pcap_datalink(file) != linktype)
        die(FAILED, "%s: packets have link type %d (%s), but %s takes %d", set.path,
            pcap_datalink(file), pcap_datalink_val_to_description_or_dlt(pcap_datalink(file)),
            set.device, linktype);
    return file;
}

/* ---- progress -------------------------------------------------------------------------- */

/* How much of everything is done, 0 to 1; negative when nobody can know. */
static double progress(pcap_t *file, uint64_t loop)
{
    FILE *stream = pcap_file(file);
    struct stat info;
    double part;

    if (set.count != 0)
        return (double)read_packets / set.count;
    if (set.loops == 0 || fstat(fileno(stream), &info) != 0 || !S_ISREG(info.st_mode) ||
        info.st_size == 0)
        return -1;
    part = (double)ftello(stream) / info.st_size;
    return ((double)loop + (part > 1 ? 1 : part)) / set.loops;
}

static void show(pcap_t *file, uint64_t loop)
{
    static const char bar[] = "##################################################";
    enum { SHORTEST = 10, LONGEST = sizeof bar - 1 };
    double elapsed = (monotonic_ns() - begun_ns) / 1e9, done = progress(file, loop);
    char counts[128];
    int length, width;
    long left;

    length = snprintf(counts, sizeof counts, "%" PRIu64 " sent, %" PRIu64 " refused, %.1f kpps",
                      sender.sent, sender.refused, sender.sent / elapsed / 1e3);
    if (done <= 0) {
        progress_show("%s", counts);
        return;
    }
    left = (long)(elapsed / done - elapsed + 0.5);
    width = (int)progress_room() - length - 27; /* what stands around the bar, hours included */
    width = width > LONGEST ? LONGEST : width < SHORTEST ? SHORTEST : width;
    progress_show("%3.0f %% [%-*.*s] ETA %02ld:%02ld:%02ld  %s", done * 100, width,
                  (int)(done * width), bar, left / 3600, left / 60 % 60, left % 60, counts);
}

/* ---- sending --------------------------------------------------------------------------- */

/* When the next packet is to go, on the monotonic clock; elapsed: ns since the first of the
 * file was captured, plus what earlier loops took. */
static uint64_t due(uint64_t elapsed)
{
    switch (set.pace) {
    case GAPS: return begun_ns + (uint64_t)(elapsed / set.value);
    case PACKETS: return begun_ns + (uint64_t)(read_packets * 1e9 / set.value);
    case MEGABITS: return begun_ns + (uint64_t)(read_bytes * 8e3 / set.value);
    default: return 0;
    }
}

static bool send_packet(const struct pcap_pkthdr *header, const uint8_t *data)
{
    struct pktring_slot slot;

    if (!sender_reserve(&sender, &slot))
        return false;
    if (header->caplen <= slot.capacity)
        memcpy(slot.data, data, header->caplen);
    if (header->caplen < header->len)
        cut++;
    read_packets++;
    read_bytes += header->caplen;
    /* What is too long is refused here, with its length. */
    return sender_commit(&sender, &slot, header->caplen);
}

/* Sends the file once. False: stop. *offset: see due(). */
static bool send_file(uint64_t loop, uint64_t *offset)
{
    pcap_t *file = open_file();
    struct pcap_pkthdr *header;
    const uint8_t *data;
    uint64_t first = 0, stamp, last = *offset;
    bool started = false, on = true;
    int result = 1;

    while (on && !stopping && (set.count == 0 || read_packets < set.count) &&
           (result = pcap_next_ex(file, &header, &data)) == 1) {
        stamp = (uint64_t)header->ts.tv_sec * 1000000000 + (uint64_t)header->ts.tv_usec;
        if (!started)
            first = stamp;
        started = true;
        if (stamp > first && *offset + stamp - first > last) /* no packet goes before the one before it */
            last = *offset + stamp - first;
        on = sender_wait_until(&sender, due(last)) && !stopping && send_packet(header, data);
        if (!set.quiet && progress_due())
            show(file, loop);
    }
    if (result == PCAP_ERROR) {
        progress_end();
        complain("%s: %s", set.path, pcap_geterr(file));
        on = false;
    }
    if (!started && result == PCAP_ERROR_BREAK) {
        complain("%s: no packets in it", set.path);
        on = false;
    }
    *offset = last;
    pcap_close(file);
    return on;
}

int main(int argc, char **argv)
{
    uint64_t offset = 0;
    bool on = true;
    double seconds;

    program = "pktring-replay";
    parse(argc, argv);
    sender_open(&sender, set.device, set.bypass);
    stop_on_signals(&sender.handle, 1);
    begun_ns = monotonic_ns();
    for (uint64_t loop = 0; on && !stopping && (set.loops == 0 || loop < set.loops) &&
                            (set.count == 0 || read_packets < set.count);
         loop++)
        on = send_file(loop, &offset);
    on = sender_finish(&sender) && on;
    seconds = (monotonic_ns() - begun_ns) / 1e9;
    progress_end();
    if (!set.quiet)
        printf("%" PRIu64 " packets sent, %" PRIu64 " bytes, %" PRIu64 " refused, in %.3f s "
               "(%.1f kpps, %.1f Mbit/s)\n",
               sender.sent, sender.sent_bytes, sender.refused, seconds,
               sender.sent / seconds / 1e3, sender.sent_bytes * 8 / seconds / 1e6);
    if (sender.refused > 0)
        complain("%" PRIu64 " packets were refused, the last one with: %s", sender.refused,
                 pktring_strerror(sender.refusal));
    if (cut > 0)
        complain("%" PRIu64 " packets were sent as short as they had been captured", cut);
    if (stopping && set.loops != 0)
        complain("interrupted before the end of %s", set.path);
    return end_output(
        on && sender.refused == 0 && !(stopping && set.loops != 0) ? DONE : FAILED);
}

#else

int main(int argc, char **argv)
{
    program = "pktring-replay";
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
        return fputs(help, stdout) == EOF;
    die(FAILED, "reading capture files is not built in (build with libpcap)");
}

#endif
