/* receive NAME [device= ring= retire= slot= block= cpu= work= spin=]: says "ready", receives
 * until SIGTERM, then answers with frames, kernel counts, CPU time and wake-ups. */
#include "consumer.h"

uint64_t touched, touched_bytes, work_ns;

static const struct consumer *find(const char *name)
{
	for (const struct consumer *c = consumers; c->name; c++)
		if (!strcmp(c->name, name))
			return c;
	fail("no receiver named %s here", name);
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
		.block_size = (unsigned)number(argc, argv, "block", 0),
		.spin_us = (unsigned)number(argc, argv, "spin", 0),
		.blocking = true,
	};
	if (argc < 2)
		fail("usage: receive NAME [name=value ...]");
	const struct consumer *consumer = running = find(argv[1]);
	uint64_t taken = 0, waits = 0;

	struct sigaction action = { .sa_handler = on_sigterm };

	sigaction(SIGTERM, &action, NULL);
	pin((int)number(argc, argv, "cpu", 1));
	work_ns = number(argc, argv, "work", 0);
	consumer->open(&setup);
	puts("ready");
	fflush(stdout);

	uint64_t cpu = cpu_ns();
	while (!stopping) {
		uint64_t got = consumer->take(1u << 20);

		taken += got;
		if (!got) {
			waits++;
			consumer->wait(200);
		}
	}
	cpu = cpu_ns() - cpu;
	struct counts counts = consumer->counts();
	printf("{\"frames\":%lu,\"cpu_ns\":%lu,\"waits\":%lu,\"received\":%lu,\"dropped\":%lu,"
	       "\"bytes\":%lu,\"check\":%lu}\n",
	       taken, cpu, waits, counts.received, counts.dropped, touched_bytes, touched & 0xff);
	return 0;
}
