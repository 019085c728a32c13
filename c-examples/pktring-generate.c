/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * pktring-generate: sends numbered, timestamped UDP packets, and reports on those that arrive.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli.h"
#include "tools/probe.h"
#include "tools/sender.h"

static const char help[] =
    "Usage: pktring-generate [OPTION]... INTERFACE\n"
    "       pktring-generate --receive [OPTION]... INTERFACE\n"
    "Sends UDP packets with a sequence number and a timestamp in them, until ^C; or receives\n"
    "them and reports loss, reordering and latency.\n"
    "\n"
    "Sending:\n"
    "  -c, --count N           end after N packets\n"
    "  -d, --duration SECONDS  end after that time\n"
    "  -r, --rate N            N packets a second (as fast as possible)\n"
    "  -s, --size N[-M]        bytes of a packet with all headers; or of every size from N to M\n"
    "                          in turn (82)\n"
    "  -f, --flows N           N flows in turn, by source port (1)\n"
    "      --source-mac MAC, --destination-mac MAC       (the interface's, ff:ff:ff:ff:ff:ff)\n"
    "      --source IP, --destination IP                 (192.0.2.1, 192.0.2.2)\n"
    "      --source-port N, --destination-port N         (10000, 9)\n"
    "      --vlan ID           with a VLAN tag\n"
    "  -b, --bypass            past the interface's queueing discipline\n"
    "Receiving:\n"
    "  -R, --receive           until the sender announces its end, or ^C\n"
    "  -d, --duration SECONDS  end after that time\n"
    "  -c, --count N           end after N packets\n"
    "\n"
    "  -q, --quiet             no statistics while running\n"
    "  -h, --help, -V, --version\n"
    "\n"
    "Exit status: 0 all well; 1 failure, or packets were refused; 2 bad command line;\n"
    "3 packets were lost, duplicated or reordered, or none arrived.\n";

enum { SOURCE_MAC = 256, DESTINATION_MAC, SOURCE, DESTINATION, SOURCE_PORT, DESTINATION_PORT, VLAN };

static struct {
    const char *device;
    struct template template;
    uint64_t count, rate, duration_ns;
    uint32_t least, most, flows;
    bool receive, bypass, quiet, own_mac;
} set = {
    .template = {.destination_mac = {255, 255, 255, 255, 255, 255},
                 .source = 0xc0000201, .destination = 0xc0000202,
                 .source_port = 10000, .destination_port = 9, .vlan = -1},
    .least = PROBE_LEAST, .most = PROBE_LEAST, .flows = 1, .own_mac = true,
};

static void parse_mac(const char *option, const char *text, uint8_t *mac)
{
    unsigned bytes[6];
    int end = 0;

    if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &bytes[0], &bytes[1], &bytes[2], &bytes[3],
               &bytes[4], &bytes[5], &end) != 6 || text[end] != '\0')
        die(USAGE, "%s: '%s' is not a hardware address like 02:00:00:00:00:01", option, text);
    for (int i = 0; i < 6; i++)
        mac[i] = (uint8_t)bytes[i];
}

static uint32_t parse_ip(const char *option, const char *text)
{
    struct in_addr address;

    if (inet_pton(AF_INET, text, &address) != 1)
        die(USAGE, "%s: '%s' is not an IPv4 address", option, text);
    return ntohl(address.s_addr);
}

static void parse_size(char *text)
{
    char *most = strchr(text, '-');

    if (most != NULL)
        *most++ = '\0';
    set.least = number("--size", text, PROBE_LEAST, 65535);
    set.most = most != NULL ? number("--size", most, set.least, 65535) : set.least;
}

static void parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"count", 1, NULL, 'c'}, {"duration", 1, NULL, 'd'}, {"rate", 1, NULL, 'r'},
        {"size", 1, NULL, 's'},  {"flows", 1, NULL, 'f'},    {"bypass", 0, NULL, 'b'},
        {"receive", 0, NULL, 'R'}, {"quiet", 0, NULL, 'q'},  {"help", 0, NULL, 'h'},
        {"version", 0, NULL, 'V'}, {"source-mac", 1, NULL, SOURCE_MAC},
        {"destination-mac", 1, NULL, DESTINATION_MAC}, {"source", 1, NULL, SOURCE},
        {"destination", 1, NULL, DESTINATION}, {"source-port", 1, NULL, SOURCE_PORT},
        {"destination-port", 1, NULL, DESTINATION_PORT}, {"vlan", 1, NULL, VLAN}, {0},
    };
    struct template *to = &set.template;
    int option;

    while ((option = getopt_long(argc, argv, "c:d:r:s:f:bRqhV", options, NULL)) != -1) {
        switch (option) {
        case 'c': set.count = number("--count", optarg, 1, UINT64_MAX); break;
        case 'd': set.duration_ns = positive("--duration", optarg) * 1e9; break;
        case 'r': set.rate = number("--rate", optarg, 1, 1000000000); break;
        case 's': parse_size(optarg); break;
        case 'f': set.flows = number("--flows", optarg, 1, 65535); break;
        case 'b': set.bypass = true; break;
        case 'R': set.receive = true; break;
        case 'q': set.quiet = true; break;
        case 'h': fputs(help, stdout); exit(DONE);
        case 'V': printf("pktring-generate (libpktring %s)\n", pktring_version()); exit(DONE);
        case SOURCE_MAC:
            parse_mac("--source-mac", optarg, to->source_mac);
            set.own_mac = false;
            break;
        case DESTINATION_MAC: parse_mac("--destination-mac", optarg, to->destination_mac); break;
        case SOURCE: to->source = parse_ip("--source", optarg); break;
        case DESTINATION: to->destination = parse_ip("--destination", optarg); break;
        case SOURCE_PORT: to->source_port = number("--source-port", optarg, 0, 65535); break;
        case DESTINATION_PORT:
            to->destination_port = number("--destination-port", optarg, 0, 65535);
            break;
        case VLAN: to->vlan = number("--vlan", optarg, 0, 4095); break;
        default: bad_usage();
        }
    }
    if (argc - optind != 1)
        die(USAGE, "an interface is needed; see --help");
    set.device = argv[optind];
    if (!set.receive)
        one_interface(set.device);
    if (to->vlan >= 0 && set.least < PROBE_LEAST + 4) { /* make room for the tag */
        set.least = PROBE_LEAST + 4;
        set.most = set.most < set.least ? set.least : set.most;
    }
}

/* ---- sending --------------------------------------------------------------------------- */

static bool send_one(struct sender *sender, const struct probe *probe)
{
    struct template template = set.template;
    uint64_t sizes = (uint64_t)set.most - set.least + 1;
    uint32_t length = set.least + (uint32_t)(probe->sequence % sizes);
    struct pktring_slot slot;

    template.source_port += (uint16_t)(probe->sequence % set.flows);
    if (!sender_reserve(sender, &slot))
        return false;
    if (length > slot.capacity) {
        pktring_tx_abort(sender->handle, &slot);
        sender->refused++;
        sender->refusal = -EMSGSIZE;
        return true;
    }
    probe_write(slot.data, length, &template, probe);
    return sender_commit(sender, &slot, length);
}

static void show_sent(const struct sender *sender, uint64_t begun)
{
    double seconds = (monotonic_ns() - begun) / 1e9;

    progress_show("%" PRIu64 " sent, %" PRIu64 " refused, %.1f kpps, %.1f Mbit/s",
                sender->sent, sender->refused, sender->sent / seconds / 1e3,
                sender->sent_bytes * 8 / seconds / 1e6);
}

/* Tells the other end how many there were; more than once, because they can be lost, too. */
static bool announce_end(struct sender *sender, struct probe probe)
{
    bool on = true;

    probe.end = true;
    for (int i = 0; i < 3 && on; i++) /* some time apart: what lost one may be over by then */
        on = send_one(sender, &probe) && sender_wait_until(sender, monotonic_ns() + 20000000);
    return sender_finish(sender) && on;
}

static int generate(void)
{
    struct sender sender;
    struct probe probe = {.stream = realtime_ns()};
    uint64_t begun, sent, bytes, refused;
    bool on = true;
    double seconds;

    sender_open(&sender, set.device, set.bypass);
    if (pktring_linktype(sender.handle) != 1)
        die(FAILED, "%s: not an Ethernet interface", set.device);
    if (set.own_mac)
        memcpy(set.template.source_mac, interface_or_die(set.device).addr, 6);
    stop_on_signals(&sender.handle, 1);
    begun = monotonic_ns();
    while (on && !stopping && (set.count == 0 || probe.sequence < set.count) &&
           (set.duration_ns == 0 || monotonic_ns() - begun < set.duration_ns)) {
        if (set.rate != 0)
            on = sender_wait_until(&sender,
                                   begun + (uint64_t)(probe.sequence * 1e9 / set.rate));
        if (!on || stopping)
            break;
        probe.timestamp = realtime_ns();
        on = send_one(&sender, &probe);
        probe.sequence += on;
        if (!set.quiet && progress_due())
            show_sent(&sender, begun);
    }
    on = on || stopping; /* a wait that was interrupted is no failure */
    on = sender_finish(&sender) && on;
    seconds = (monotonic_ns() - begun) / 1e9;
    progress_end();
    sent = sender.sent;
    bytes = sender.sent_bytes;
    refused = sender.refused;
    if (on && refused == 0)
        on = announce_end(&sender, probe);
    printf("%" PRIu64 " packets sent, %" PRIu64 " bytes, %" PRIu64 " refused, in %.3f s "
           "(%.1f kpps, %.1f Mbit/s)\n",
           sent, bytes, refused, seconds, sent / seconds / 1e3, bytes * 8 / seconds / 1e6);
    if (refused > 0)
        complain("%" PRIu64 " packets were refused, the last one with: %s", refused,
                 pktring_strerror(sender.refusal));
    return end_output(on && refused == 0 ? DONE : FAILED);
}

/* ---- receiving ------------------------------------------------------------------------- */

static struct report report;

static void take(void *user, const struct pktring_frame *frame)
{
    struct probe probe;

    (void)user;
    if (probe_read(frame->data, frame->caplen, &probe))
        report_add(&report, &probe, frame->timestamp, frame->len);
}

static bool enough(uint64_t begun)
{
    return stopping || report.ended || (set.count != 0 && report.arrived >= set.count) ||
           (set.duration_ns != 0 && monotonic_ns() - begun >= set.duration_ns);
}

static int receive(void)
{
    enum { LOOK_MS = 100, AT_ONCE = 4096 };
    pktring_t *handle = open_or_die(set.device);
    struct pktring_stats stats = {.size = sizeof stats};
    uint64_t begun;
    int result = 0;

    check(handle, set.device, pktring_set_ignore_outgoing(handle, 1));
    if (strcmp(set.device, "any") != 0)
        check(handle, set.device, pktring_set_promisc(handle, 1));
    check(handle, set.device, pktring_activate(handle));
    stop_on_signals(&handle, 1);
    if (!set.quiet)
        complain("listening on %s", set.device);
    begun = monotonic_ns();
    while (!enough(begun)) {
        result = pktring_dispatch(handle, AT_ONCE, LOOK_MS, take, NULL);
        if (result == -ENETDOWN)
            complain_of(handle, set.device, result);
        else if (result < 0 && result != -ECANCELED && result != -EBADMSG)
            break;
        if (!set.quiet && progress_due())
            progress_show("%" PRIu64 " arrived, %" PRIu64 " missing, 50 %% within %.1f us",
                        report.arrived, report_lost(&report), report_latency(&report, 0.5) / 1e3);
    }
    progress_end();
    if (result < 0 && result != -ECANCELED && result != -EBADMSG && result != -ENETDOWN)
        complain_of(handle, set.device, result);
    else
        result = 0;
    while (report.ended && pktring_dispatch(handle, AT_ONCE, 50, take, NULL) > 0)
        ; /* what was late */
    report_print(&report, stdout);
    if (pktring_stats(handle, &stats) == 0 && stats.dropped > 0)
        printf("%" PRIu64 " packets of any kind were dropped for lack of room in the ring\n",
               stats.dropped);
    if (result < 0)
        return FAILED;
    return end_output(
        report.arrived == 0 || report_lost(&report) + report.reordered + report.duplicates > 0
            ? FAULTS_SEEN
            : DONE);
}

int main(int argc, char **argv)
{
    program = "pktring-generate";
    parse(argc, argv);
    return set.receive ? receive() : generate();
}
