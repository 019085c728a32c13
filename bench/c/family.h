/* Helpers for the peers that hold the packet socket themselves. */
#pragma once
#include "consumer.h"

static inline struct counts packet_counts(int fd)
{
	struct tpacket_stats_v3 stats = { 0 };
	socklen_t length = sizeof stats;

	if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &length))
		die("PACKET_STATISTICS");
	return (struct counts){ stats.tp_packets, stats.tp_drops };
}
