/* A sender under test. Each family exports a table; transmit.c is linked once with each. */
#pragma once
#include "bench.h"

enum { POOL = 768 }; /* distinct frames, handed out in turn; a multiple of the IMIX period */

struct plan {
	const char *device;
	unsigned size; /* 0: IMIX */
	unsigned batch;
	bool bypass; /* PACKET_QDISC_BYPASS */
	unsigned protocol; /* EtherType that the socket is bound to; 0: none */
};

extern uint8_t pool[POOL][9216];
extern struct iovec vectors[POOL];

struct transmitter {
	const char *name;
	void (*open)(const struct plan *plan);
	/* Offers up to plan.batch frames starting at pool index `first`; returns how many went in.
	 * first + batch never passes the end of the pool. */
	unsigned (*send)(const struct plan *plan, unsigned first);
	void (*finish)(void); /* waits until everything is on the wire; may be NULL */
};

extern const struct transmitter transmitters[];
