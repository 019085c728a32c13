/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef FILTER_H
#define FILTER_H

#include <pktring.h>

/* Compiles a filter expression (pcap-filter(7)) with libpcap and sets it; ends the program where
 * that cannot be done. The handle must not be active. */
void set_filter(pktring_t *handle, const char *device, const char *expression);

#endif
