/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * port-libpcap INTERFACE: prints what arrives until ^C, then what was dropped. With libpcap;
 * port-pktring.c is the same program with pktring, line by line. */
#include <pcap/pcap.h>
#include <signal.h>
#include <stdio.h>

static pcap_t *handle;

static void stop(int signal)
{
    (void)signal;
    pcap_breakloop(handle);
}

static void print(u_char *user, const struct pcap_pkthdr *header, const u_char *data)
{
    (void)user;
    printf("%u of %u bytes", header->caplen, header->len);
    if (header->caplen >= 14)
        printf(", ethertype 0x%02x%02x", data[12], data[13]);
    printf("\n");
}

int main(int argc, char **argv)
{
    char error[PCAP_ERRBUF_SIZE];
    struct pcap_stat stats;
    int result;

    handle = pcap_create(argc > 1 ? argv[1] : "lo", error);
    if (handle == NULL)
        return fprintf(stderr, "%s\n", error), 1;
    pcap_set_snaplen(handle, 128);
    pcap_set_promisc(handle, 1);
    pcap_set_timeout(handle, 20);
    if (pcap_activate(handle) < 0)
        return fprintf(stderr, "%s\n", pcap_geterr(handle)), 1;
    signal(SIGINT, stop);
    result = pcap_loop(handle, -1, print, NULL);
    if (result != PCAP_ERROR_BREAK)
        fprintf(stderr, "%s\n", pcap_geterr(handle));
    if (pcap_stats(handle, &stats) == 0)
        printf("%u received, %u dropped\n", stats.ps_recv, stats.ps_drop);
    pcap_close(handle);
    return result != PCAP_ERROR_BREAK;
}
