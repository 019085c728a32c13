/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef DESCRIBE_H
#define DESCRIBE_H

#include <stddef.h>
#include <stdint.h>

/* Says in one line who sends what to whom. Linktypes other than Ethernet (1) and raw IP (12) are
 * told by their length alone. */
void describe(char *text, size_t size, int linktype, const uint8_t *data, uint32_t caplen);

#endif
