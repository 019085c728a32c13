/* What every measuring program shares: clocks, pinning, test frames, plain packet sockets. */
#pragma once
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define die(what)                                                                             \
	do {                                                                                  \
		fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, what, strerror(errno)); \
		exit(1);                                                                      \
	} while (0)
#define fail(...)                             \
	do {                                  \
		fprintf(stderr, __VA_ARGS__); \
		fputc('\n', stderr);          \
		exit(1);                      \
	} while (0)
#define MIB (1u << 20)

static inline uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* CPU time of the whole process, so that a peer cannot hide work in a helper thread. */
static inline uint64_t cpu_ns(void)
{
	return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

/* Best effort: with fewer CPUs than the suite likes, everything shares the last one. */
static inline void pin(int cpu)
{
	cpu_set_t set;
	long online = sysconf(_SC_NPROCESSORS_ONLN);

	if (cpu < 0)
		return;
	if (cpu >= online)
		cpu = (int)online - 1;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof set, &set);
}

static volatile sig_atomic_t stopping;

static inline void on_stop(int signal)
{
	(void)signal;
	stopping = 1;
}

/* SIGTERM ends a measurement; without SA_RESTART, so that a blocked poll returns. */
static inline void stop_on_sigterm(void)
{
	struct sigaction action = { .sa_handler = on_stop };

	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
}

static inline void sleep_until(uint64_t due)
{
	struct timespec t = { (time_t)(due / 1000000000u), (long)(due % 1000000000u) };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

/* ---- test frames: Ethernet, IPv4, UDP to a foreign MAC, so that the stack drops them early */

static inline uint16_t ip_checksum(const uint8_t *bytes, int length)
{
	uint32_t sum = 0;

	for (int i = 0; i < length; i += 2)
		sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static inline void put16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static inline void make_frame(uint8_t *frame, unsigned length, unsigned flow)
{
	static const uint8_t start[] = {
		2, 0, 0, 0, 0, 0x99, 2, 0, 0, 0, 0, 1, 8, 0,            /* Ethernet */
		0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0,                /* IPv4, UDP */
		10, 9, 0, 1, 10, 9, 0, 2,
	};
	memset(frame, 0, length);
	memcpy(frame, start, sizeof start);
	put16(frame + 16, length - 14);
	put16(frame + 24, ip_checksum(frame + 14, 20));
	put16(frame + 34, 1024 + flow);
	put16(frame + 36, 9);
	put16(frame + 38, length - 34);
}

/* Size 0 stands for IMIX: 60, 576 and 1514 bytes at 7:4:1. */
static inline unsigned imix_size(unsigned i)
{
	unsigned slot = i * 7 % 12;

	return slot < 7 ? 60 : slot < 11 ? 576 : 1514;
}

static inline unsigned size_of_frame(unsigned size, unsigned i)
{
	return size ? size : imix_size(i);
}

/* ---- plain packet sockets */

static inline void packet_bind(int fd, const char *device, unsigned protocol)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons((uint16_t)protocol),
		.sll_ifindex = (int)if_nametoindex(device),
	};
	if (!address.sll_ifindex)
		die(device);
	if (bind(fd, (struct sockaddr *)&address, sizeof address))
		die("bind");
}

static inline int packet_socket(void)
{
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	if (fd < 0)
		die("socket(AF_PACKET)");
	return fd;
}

static inline void packet_option(int fd, int option, int value)
{
	if (setsockopt(fd, SOL_PACKET, option, &value, sizeof value))
		die("setsockopt(SOL_PACKET)");
}

/* A ring as the kernel's document builds it; the caller binds. version is TPACKET_V1.. */
struct hand_ring {
	int fd, version;
	uint8_t *map;
	size_t length;
	unsigned block_size, block_count, frame_size, frame_count;
};

static inline struct hand_ring hand_ring(int version, int which, size_t bytes, unsigned block_size,
					 unsigned frame_size, unsigned retire_ms)
{
	struct hand_ring ring = {
		.fd = packet_socket(), .version = version, .block_size = block_size,
		.block_count = (unsigned)(bytes / block_size), .frame_size = frame_size,
	};
	ring.frame_count = block_size / frame_size * ring.block_count;
	ring.length = (size_t)block_size * ring.block_count;

	struct tpacket_req3 request = {
		.tp_block_size = block_size, .tp_block_nr = ring.block_count,
		.tp_frame_size = frame_size, .tp_frame_nr = ring.frame_count,
		.tp_retire_blk_tov = which == PACKET_RX_RING ? retire_ms : 0,
	};
	socklen_t length = version == TPACKET_V3 ? sizeof request : sizeof(struct tpacket_req);

	packet_option(ring.fd, PACKET_VERSION, version);
	if (setsockopt(ring.fd, SOL_PACKET, which, &request, length))
		die("setsockopt(ring)");
	ring.map = mmap(NULL, ring.length, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, 0);
	if (ring.map == MAP_FAILED)
		die("mmap");
	return ring;
}

static inline uint8_t *ring_frame(const struct hand_ring *ring, unsigned index)
{
	unsigned per_block = ring->block_size / ring->frame_size;

	return ring->map + (size_t)(index / per_block) * ring->block_size +
	       (size_t)(index % per_block) * ring->frame_size;
}

/* "name=value" arguments: every program takes the same few. */
static inline const char *argument(int argc, char **argv, const char *name, const char *fallback)
{
	size_t length = strlen(name);

	for (int i = 1; i < argc; i++)
		if (!strncmp(argv[i], name, length) && argv[i][length] == '=')
			return argv[i] + length + 1;
	return fallback;
}

static inline uint64_t number(int argc, char **argv, const char *name, uint64_t fallback)
{
	const char *text = argument(argc, argv, name, NULL);

	return text ? strtoull(text, NULL, 0) : fallback;
}
