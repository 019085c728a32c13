/* drain NAME [device= ring= retire= slot= block= cpu=]: opens the receiver, says "ready"; each
 * "go N" on standard input drains N frames already in the ring and answers with one JSON line. */
#include "consumer.h"

uint64_t touched, touched_bytes, work_ns;

static const struct consumer *find(const char *name)
{
	for (const struct consumer *c = consumers; c->name; c++)
		if (!strcmp(c->name, name))
			return c;
	fail("no receiver named %s here", name);
}

/* Gives up after three seconds: a fill that fell short must not hang the suite. */
static void drain(const struct consumer *consumer, uint64_t wanted)
{
	uint64_t start = now_ns(), taken = 0, idle = 0;

	touched_bytes = 0;
	while (taken < wanted) {
		uint64_t got = consumer->take(wanted - taken);

		taken += got;
		if (!got && (++idle & 1023) == 0 && now_ns() - start > 3000000000u)
			break;
	}
	uint64_t wall = now_ns() - start;
	if (taken < wanted) {
		struct counts counts = consumer->counts();
		fprintf(stderr, "%s: %lu of %lu frames; kernel: %lu received, %lu dropped\n",
			consumer->name, taken, wanted, counts.received, counts.dropped);
	}
	printf("{\"frames\":%lu,\"ns\":%.4f,\"idle\":%lu,\"bytes\":%lu,\"check\":%lu}\n", taken,
	       taken ? (double)wall / (double)taken : 0.0, idle, touched_bytes, touched & 0xff);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	char line[64];
	struct setup setup = {
		.device = argument(argc, argv, "device", "lo"),
		.ring_bytes = number(argc, argv, "ring", 0),
		.retire_ms = (unsigned)number(argc, argv, "retire", 0),
		.frame_size = (unsigned)number(argc, argv, "slot", 0),
		.block_size = (unsigned)number(argc, argv, "block", 0),
	};
	if (argc < 2)
		fail("usage: drain NAME [name=value ...]");
	const struct consumer *consumer = find(argv[1]);

	pin((int)number(argc, argv, "cpu", 1));
	work_ns = number(argc, argv, "work", 0);
	consumer->open(&setup);
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin))
		drain(consumer, strtoull(line + 3, NULL, 0));
	return 0;
}
