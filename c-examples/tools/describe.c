/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "describe.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static unsigned be16(const uint8_t *at) { return (unsigned)at[0] << 8 | at[1]; }

static size_t end(size_t used, size_t size, int added)
{
    return added < 0 || used + (size_t)added >= size ? size - 1 : used + (size_t)added;
}

static const char *transport(unsigned protocol)
{
    switch (protocol) {
    case 1: return "ICMP";
    case 6: return "TCP";
    case 17: return "UDP";
    case 58: return "ICMPv6";
    default: return NULL;
    }
}

static void describe_ip(char *text, size_t size, const uint8_t *ip, uint32_t length)
{
    char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN], number[24];
    int family = length >= 20 && ip[0] >> 4 == 4   ? AF_INET
                 : length >= 40 && ip[0] >> 4 == 6 ? AF_INET6
                                                   : 0;
    uint32_t header = family == AF_INET ? (ip[0] & 15) * 4u : 40;
    unsigned protocol;
    const char *name;

    if (family == 0) {
        snprintf(text, size, "malformed or cut IP");
        return;
    }
    protocol = family == AF_INET ? ip[9] : ip[6];
    inet_ntop(family, ip + (family == AF_INET ? 12 : 8), from, sizeof from);
    inet_ntop(family, ip + (family == AF_INET ? 16 : 24), to, sizeof to);
    name = transport(protocol);
    snprintf(number, sizeof number, "protocol %u", protocol);
    /* Fragments but the first have no ports. */
    if ((protocol == 6 || protocol == 17) && length >= header + 4 &&
        (family == AF_INET6 || (be16(ip + 6) & 0x1fff) == 0))
        snprintf(text, size, "%s.%u > %s.%u %s", from, be16(ip + header), to,
                 be16(ip + header + 2), name);
    else
        snprintf(text, size, "%s > %s %s", from, to, name != NULL ? name : number);
}

void describe(char *text, size_t size, int linktype, const uint8_t *data, uint32_t caplen)
{
    uint32_t at = 14;
    size_t used = 0;
    unsigned type;

    *text = '\0';
    if (linktype == 12) {
        describe_ip(text, size, data, caplen);
        return;
    }
    if (linktype != 1 || caplen < 14)
        return;
    used = end(used, size,
               snprintf(text, size, "%02x:%02x:%02x:%02x:%02x:%02x > %02x:%02x:%02x:%02x:%02x:%02x ",
                        data[6], data[7], data[8], data[9], data[10], data[11], data[0], data[1],
                        data[2], data[3], data[4], data[5]));
    type = be16(data + 12);
    while ((type == 0x8100 || type == 0x88a8) && caplen >= at + 4) {
        used = end(used, size,
                   snprintf(text + used, size - used, "VLAN %u ", be16(data + at) & 0xfff));
        type = be16(data + at + 2);
        at += 4;
    }
    if (type == 0x0800 || type == 0x86dd)
        describe_ip(text + used, size - used, data + at, caplen - at);
    else if (type == 0x0806)
        snprintf(text + used, size - used, "ARP");
    else
        snprintf(text + used, size - used, "ethertype 0x%04x", type);
}
