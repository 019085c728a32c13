/* sender device=NAME size=BYTES|0 [count= ms= rate= flows= peer= how=auto|xdp|socket|gso cpu=]
 *
 * The fastest generator the kernel has: BPF_PROG_TEST_RUN with live XDP frames, on lo as plain
 * ingress, on a veth by redirecting out of it. Needs root; where bpf() is refused it falls back
 * to sendmmsg, and says which it used. Size 0 is IMIX (60, 576, 1514 bytes at 7:4:1). "gso" sends
 * single UDP frames of up to 64 KiB for the device to segment. */
#include "bench.h"
#include <linux/bpf.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4 /* the kernel has it longer than Debian's headers */
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

enum { BATCH = 64, POOL = 768, CHUNK = 1 << 20 };

static int bpf(int command, union bpf_attr *attributes)
{
	return (int)syscall(SYS_bpf, command, attributes, sizeof *attributes);
}

#define OP(code_, dst, src, offset, value)                                                      \
	program[length++] = (struct bpf_insn)                                                   \
	{                                                                                       \
		.code = (code_), .dst_reg = (dst), .src_reg = (src), .off = (offset), .imm = (value) \
	}
#define CALL(helper) OP(BPF_JMP | BPF_CALL, 0, 0, 0, helper)
#define MOVI(dst, value) OP(BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, value)
#define MOVR(dst, src) OP(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0)

/* Trims 1514-byte frames to IMIX, gives each a random UDP port, passes or redirects it. */
static int load_program(unsigned flows, bool imix, int redirect_to)
{
	static char log[65536];
	struct bpf_insn program[48];
	unsigned length = 0;

	MOVR(6, 1);
	if (imix) {
		CALL(BPF_FUNC_get_prandom_u32);
		OP(BPF_ALU | BPF_MOD | BPF_K, 0, 0, 0, 12);
		OP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 5, 11); /* 1 of 12 stays 1514 */
		MOVI(2, 576 - 1514);
		OP(BPF_JMP | BPF_JGE | BPF_K, 0, 0, 1, 7); /* 4 of 12 */
		MOVI(2, 60 - 1514);
		MOVR(1, 6);
		CALL(BPF_FUNC_xdp_adjust_tail);
	}
	if (flows > 1) {
		CALL(BPF_FUNC_get_prandom_u32);
		OP(BPF_ALU64 | BPF_AND | BPF_K, 0, 0, 0, (int)flows - 1);
		OP(BPF_LDX | BPF_MEM | BPF_W, 2, 6, 0, 0); /* data */
		OP(BPF_LDX | BPF_MEM | BPF_W, 3, 6, 4, 0); /* data_end */
		MOVR(4, 2);
		OP(BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, 36);
		OP(BPF_JMP | BPF_JGT | BPF_X, 4, 3, 1, 0);
		OP(BPF_STX | BPF_MEM | BPF_H, 2, 0, 34, 0); /* UDP source port */
	}
	if (redirect_to) {
		MOVI(1, redirect_to);
		MOVI(2, 0);
		CALL(BPF_FUNC_redirect);
	} else {
		MOVI(0, XDP_PASS);
	}
	OP(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);

	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_XDP, .insns = (uintptr_t)program,
		.insn_cnt = length, .license = (uintptr_t) "GPL",
	};
	int fd = bpf(BPF_PROG_LOAD, &load);
	if (fd < 0 && errno != EPERM && errno != ENOSYS) {
		load.log_buf = (uintptr_t)log;
		load.log_size = sizeof log;
		load.log_level = 1;
		bpf(BPF_PROG_LOAD, &load);
		fail("XDP program refused: %s\n%s", strerror(errno), log);
	}
	return fd;
}

/* Redirection into a veth needs NAPI on its peer, which GRO switches on. */
static void switch_gro_on(const char *device)
{
	struct ethtool_value value = { .cmd = ETHTOOL_SGRO, .data = 1 };
	struct ifreq request = { .ifr_data = (char *)&value };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	strncpy(request.ifr_name, device, IFNAMSIZ - 1);
	if (fd < 0 || ioctl(fd, SIOCETHTOOL, &request))
		die("ETHTOOL_SGRO");
	close(fd);
}

struct job {
	const char *device, *peer;
	unsigned size, flows;
	uint64_t count, rate, end;
};

static bool more(const struct job *job, uint64_t sent)
{
	return !stopping && (job->count ? sent < job->count : now_ns() < job->end);
}

static uint64_t send_xdp(const struct job *job, int program)
{
	static uint8_t frame[2048];
	unsigned length = job->size ? job->size : 1514;
	uint64_t sent = 0;

	make_frame(frame, length, 0);
	while (more(job, sent)) {
		uint64_t left = job->count ? job->count - sent : CHUNK;
		union bpf_attr run = { 0 };

		run.test.prog_fd = (uint32_t)program;
		run.test.data_in = (uintptr_t)frame;
		run.test.data_size_in = length;
		run.test.repeat = (uint32_t)(left < CHUNK ? left : CHUNK);
		run.test.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
		run.test.batch_size = BATCH;
		if (bpf(BPF_PROG_TEST_RUN, &run)) {
			if (errno == EINTR)
				break;
			die("BPF_PROG_TEST_RUN");
		}
		sent += run.test.repeat;
	}
	return sent;
}

static uint64_t send_socket(const struct job *job)
{
	size_t room = job->size > 1514 ? job->size : 1514;
	uint8_t *frames = malloc(POOL * room);
	static struct iovec vectors[POOL];
	static struct mmsghdr messages[POOL];
	int fd = packet_socket();
	uint64_t sent = 0, start;

	if (!frames)
		die("malloc");
	packet_bind(fd, job->device, 0);
	packet_option(fd, PACKET_QDISC_BYPASS, 1);
	for (unsigned i = 0; i < POOL; i++) {
		unsigned length = size_of_frame(job->size, i);

		make_frame(frames + i * room, length, i % job->flows);
		vectors[i] = (struct iovec){ frames + i * room, length };
		messages[i].msg_hdr.msg_iov = &vectors[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	start = now_ns();
	while (more(job, sent)) {
		uint64_t left = job->count ? job->count - sent : BATCH;
		unsigned first = (unsigned)(sent % POOL), batch = left < BATCH ? (unsigned)left : BATCH;

		if (first + batch > POOL)
			batch = POOL - first;
		int done = sendmmsg(fd, messages + first, batch, 0);
		if (done > 0)
			sent += (uint64_t)done;
		else if (errno != ENOBUFS && errno != EAGAIN)
			die("sendmmsg");
		/* sleeps rather than spins: a spinning sender would starve a receiver beside it */
		if (job->rate)
			sleep_until(start + sent * 1000000000u / job->rate);
	}
	return sent;
}

static uint64_t send_gso(const struct job *job)
{
	static uint8_t frame[sizeof(struct virtio_net_hdr) + 65536];
	int fd = packet_socket();
	uint64_t sent = 0;

	/* UDP segmentation of 1400-byte payloads, checksum left to the device */
	struct virtio_net_hdr header = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = VIRTIO_NET_HDR_GSO_UDP_L4,
		.hdr_len = 42, .gso_size = 1400, .csum_start = 34, .csum_offset = 6,
	};
	packet_option(fd, PACKET_VNET_HDR, 1);
	packet_bind(fd, job->device, 0);
	memcpy(frame, &header, sizeof header);
	make_frame(frame + sizeof header, job->size, 0);
	while (more(job, sent)) {
		if (send(fd, frame, sizeof header + job->size, 0) < 0)
			die("send(gso)");
		sent++;
	}
	return sent;
}

int main(int argc, char **argv)
{
	struct job job = {
		.device = argument(argc, argv, "device", "lo"),
		.peer = argument(argc, argv, "peer", NULL),
		.size = (unsigned)number(argc, argv, "size", 64),
		.flows = (unsigned)number(argc, argv, "flows", 16),
		.count = number(argc, argv, "count", 0),
		.rate = number(argc, argv, "rate", 0),
	};
	const char *how = argument(argc, argv, "how", "auto");
	uint64_t milliseconds = number(argc, argv, "ms", 1000), sent;
	int program = -1;

	stop_on_sigterm();
	prctl(PR_SET_TIMERSLACK, 1);
	pin((int)number(argc, argv, "cpu", 0));
	if ((!strcmp(how, "auto") || !strcmp(how, "xdp")) && !job.rate)
		program = load_program(job.flows, !job.size,
				       job.peer ? (int)if_nametoindex(job.device) : 0);
	if (program < 0 && !strcmp(how, "xdp"))
		die("bpf()");
	if (program >= 0 && job.peer)
		switch_gro_on(job.peer);

	uint64_t start = now_ns(), cpu = cpu_ns();
	job.end = start + milliseconds * 1000000u;
	sent = program >= 0          ? send_xdp(&job, program) :
	       !strcmp(how, "gso") ? send_gso(&job) :
				       send_socket(&job);
	printf("{\"how\":\"%s\",\"sent\":%lu,\"wall_ns\":%lu,\"cpu_ns\":%lu}\n",
	       program >= 0 ? "xdp" : "sendmmsg", sent, now_ns() - start, cpu_ns() - cpu);
	return 0;
}
