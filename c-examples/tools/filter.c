/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "filter.h"

#include "cli.h"

#ifdef HAVE_LIBPCAP

#include <pcap/pcap.h>
#include <string.h>

/* libpcap has to compile for a live handle: only then does it know that Linux takes VLAN tags
 * off the frames, and looks for them where they are kept. */
static pcap_t *compiler(const char *device)
{
    char error[PCAP_ERRBUF_SIZE];
    /* What "any" delivers here starts with an Ethernet header, as on lo. */
    pcap_t *pcap = pcap_create(strcmp(device, "any") == 0 ? "lo" : device, error);
    int result;

    if (pcap == NULL)
        die(FAILED, "libpcap: %s", error);
    pcap_set_snaplen(pcap, 262144);
    pcap_set_buffer_size(pcap, 1 << 20);
    result = pcap_activate(pcap);
    if (result == PCAP_ERROR_PERM_DENIED)
        die(FAILED, "%s: permission denied; CAP_NET_RAW is needed: run as root, or give the program "
                    "the capability", device);
    if (result < 0)
        die(FAILED, "%s: %s", device,
            *pcap_geterr(pcap) != '\0' ? pcap_geterr(pcap) : pcap_statustostr(result));
    return pcap;
}

void set_filter(pktring_t *handle, const char *device, const char *expression)
{
    pcap_t *pcap = compiler(device);
    struct bpf_program code;

    if (pcap_compile(pcap, &code, expression, 1, PCAP_NETMASK_UNKNOWN) != 0)
        die(USAGE, "filter '%s': %s", expression, pcap_geterr(pcap));
    /* struct bpf_insn and struct pktring_insn are the same. */
    check(handle, device,
          pktring_set_filter(handle, (const struct pktring_insn *)code.bf_insns, code.bf_len));
    pcap_freecode(&code);
    pcap_close(pcap);
}

#else

void set_filter(pktring_t *handle, const char *device, const char *expression)
{
    (void)handle, (void)device;
    die(FAILED, "filter '%s': filter expressions are not built in (build with libpcap)",
        expression);
}

#endif
