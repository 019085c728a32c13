/* latency send device= count= gap= : frames at random gaps around `gap` microseconds, each
 * carrying the moment it was sent.
 * latency RECEIVER device= count= [spin= awake=]: takes them one by one (linked with each family),
 * answers with p50, p90, p99 in microseconds and CPU microseconds a frame. */
#include "consumer.h"

enum { STAMP = 42, MARK_PORT = 0x7777, MOST = 100000 };

static double samples[MOST];
static unsigned sample_count;
uint64_t touched, touched_bytes, work_ns;

/* Called for each frame instead of touch(): see LATENCY in consumer.h. */
void take_sample(const uint8_t *data, uint32_t length)
{
	uint64_t sent;

	if (length < 64 || data[34] != MARK_PORT >> 8 || data[35] != (MARK_PORT & 0xff))
		return;
	memcpy(&sent, data + STAMP, sizeof sent);
	if (sample_count < MOST)
		samples[sample_count++] = (double)(now_ns() - sent) / 1e3;
}

static int send_stamped(const char *device, unsigned count, unsigned gap_us)
{
	uint8_t frame[64];
	unsigned seed = 12345;
	int fd = packet_socket();

	packet_option(fd, PACKET_QDISC_BYPASS, 1);
	packet_bind(fd, device, 0);
	make_frame(frame, sizeof frame, 0);
	put16(frame + 34, MARK_PORT);
	for (unsigned i = 0; i < count && !stopping; i++) {
		/* a random gap, so that no timer of the receiver runs in step with it */
		uint64_t gap = gap_us / 4 + (unsigned)rand_r(&seed) % (gap_us * 3 / 2 + 1);

		sleep_until(now_ns() + gap * 1000);
		uint64_t sent = now_ns();
		memcpy(frame + STAMP, &sent, sizeof sent);
		if (send(fd, frame, sizeof frame, 0) < 0)
			die("send");
	}
	return 0;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static const struct consumer *running;

static void on_sigterm(int signal)
{
	on_stop(signal);
	if (running->stop)
		running->stop();
}

int main(int argc, char **argv)
{
	struct setup setup = {
		.device = argument(argc, argv, "device", "lo"),
		.ring_bytes = number(argc, argv, "ring", 0),
		.retire_ms = (unsigned)number(argc, argv, "retire", 0),
		.frame_size = (unsigned)number(argc, argv, "slot", 0),
		.spin_us = (unsigned)number(argc, argv, "spin", 0),
		.awake = number(argc, argv, "awake", 0) != 0,
		.blocking = true,
	};
	struct sigaction action = { .sa_handler = on_sigterm };
	unsigned count = (unsigned)number(argc, argv, "count", 500);

	if (argc < 2)
		fail("usage: latency NAME|send [name=value ...]");
	prctl(PR_SET_TIMERSLACK, 1);
	if (!strcmp(argv[1], "send")) {
		stop_on_sigterm();
		pin((int)number(argc, argv, "cpu", 0));
		return send_stamped(setup.device, count, (unsigned)number(argc, argv, "gap", 2000));
	}
	for (running = consumers; running->name && strcmp(running->name, argv[1]); running++)
		;
	if (!running->name)
		fail("no receiver named %s here", argv[1]);
	sigaction(SIGTERM, &action, NULL);
	pin((int)number(argc, argv, "cpu", 1));
	running->open(&setup);
	puts("ready");
	fflush(stdout);
	uint64_t cpu = cpu_ns();
	while (!stopping)
		if (!running->take(1u << 20) && !stopping)
			running->wait(200);
	cpu = cpu_ns() - cpu;
	if (!sample_count)
		fail("no stamped frame arrived");
	qsort(samples, sample_count, sizeof *samples, by_value);
	printf("{\"count\":%u,\"p50\":%.2f,\"p90\":%.2f,\"p99\":%.2f,\"cpu_us\":%.3f}\n", sample_count,
	       samples[sample_count / 2], samples[sample_count * 9 / 10],
	       samples[sample_count * 99 / 100], (double)cpu / 1e3 / sample_count);
	return 0;
}
