# Benchmarks; included by the top Makefile. `make bench ONLY=drain,tx` runs a subset,
# `make bench EFFORT=0.5` spends half the rounds.
BENCH_BUILD := $(target)/bench
BENCH_PYTHON := $(BENCH_BUILD)/python/bin/python
BENCH_CFLAGS := -O2 -g -std=gnu11 -Wall -Wextra -Ibench/c -Iinclude
BENCH_LINK := -L$(dist) -lpktring -Wl,-rpath,$(abspath $(dist))
BENCH_HEADERS := $(wildcard bench/c/*.h)

# Programs of one family of peers each: ours and the ones that need nothing installed ...
BENCH_PROGRAMS := $(addprefix $(BENCH_BUILD)/,sender \
	$(foreach job,drain receive latency,$(job)-ours $(job)-hand $(job)-sockets) \
	transmit-ours transmit-sockets lifecycle-ours many-ours memory-ours)
# ... and libpcap's, where it is installed.
ifneq ($(wildcard /usr/include/pcap/pcap.h),)
BENCH_PROGRAMS += $(addprefix $(BENCH_BUILD)/,drain-pcap receive-pcap latency-pcap transmit-pcap)
endif

.PHONY: bench bench-quick bench-programs bench-setup bench-instructions

bench: bench-setup bench-programs
	$(BENCH_PYTHON) bench/bench.py --only "$(ONLY)" --effort $(or $(EFFORT),1)

# Drain and instruction counts, in under three minutes.
bench-quick: bench-setup bench-programs
	$(BENCH_PYTHON) bench/bench.py --quick --effort $(or $(EFFORT),1)

# The gate that CI runs: fails when a path costs 3 % more instructions than the baseline.
bench-instructions: bench-programs
	python3 bench/instructions

bench-programs: $(BENCH_PROGRAMS)

bench-setup: $(BENCH_BUILD)/.setup

$(BENCH_BUILD)/.setup: bench/setup.sh bench/requirements.txt $(wildcard bench/netring/src/* bench/gopacket/*)
	BENCH_BUILD=$(BENCH_BUILD) bench/setup.sh
	touch $@

$(BENCH_BUILD):
	mkdir -p $@

$(BENCH_BUILD)/sender: bench/c/sender.c $(BENCH_HEADERS) | $(BENCH_BUILD)
	$(CC) $(BENCH_CFLAGS) -o $@ $<

define BENCH_RECEIVER
$(BENCH_BUILD)/$(1)-$(2): bench/c/$(1).c bench/c/$(2).c $(BENCH_HEADERS) $(4) | $(BENCH_BUILD)
	$$(CC) $$(BENCH_CFLAGS) $(if $(filter latency,$(1)),-DLATENCY) -o $$@ bench/c/$(1).c bench/c/$(2).c $(3)
endef
define BENCH_SENDER
$(BENCH_BUILD)/transmit-$(1): bench/c/transmit.c bench/c/tx_$(1).c $(BENCH_HEADERS) $(3) | $(BENCH_BUILD)
	$$(CC) $$(BENCH_CFLAGS) -o $$@ bench/c/transmit.c bench/c/tx_$(1).c $(2)
endef
$(foreach job,drain receive latency,\
	$(eval $(call BENCH_RECEIVER,$(job),ours,$(BENCH_LINK),$(shared)))\
	$(eval $(call BENCH_RECEIVER,$(job),hand,,))\
	$(eval $(call BENCH_RECEIVER,$(job),sockets,,))\
	$(eval $(call BENCH_RECEIVER,$(job),pcap,-lpcap,)))
$(eval $(call BENCH_SENDER,ours,$(BENCH_LINK),$(shared)))
$(eval $(call BENCH_SENDER,sockets,,))
$(eval $(call BENCH_SENDER,pcap,-lpcap,))

$(BENCH_BUILD)/%-ours: bench/c/%.c $(BENCH_HEADERS) $(shared) | $(BENCH_BUILD)
	$(CC) $(BENCH_CFLAGS) -pthread -o $@ $< $(BENCH_LINK)
