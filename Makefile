# make            build the shared and the static library, release
# make demo       send and capture a million frames in a private network
# make demo IFACE=eth0 [SECONDS=10]   capture on a real interface; nothing is sent
# make test       every test, as root or not
# make install    [PREFIX=/usr/local] [DESTDIR=]; see pkgconfig/install.mk
# make manual     man pages and HTML in target/dist/manual
# make bench      measures it beside its peers; see bench/bench.mk
# make test-vm [KERNEL=package]   on Debian's kernel, under emulation, with a network card that stamps
# make test-cross [MACHINES="i386 i386@amd64 arm64"]   for other processors, under emulation
# make soak [MINUTES=n]       overload it and pull the link from under it, for long
# make fuzz [EXECUTIONS=n]    run the fuzz targets, with AddressSanitizer
# make tsan       the tests with threads under ThreadSanitizer
# make clean
#
# Needs cargo, a C compiler and make.

CARGO ?= cargo
SECONDS ?= 10
FRAMES ?= 1000000

target := $(or $(CARGO_TARGET_DIR),target)
# What `make` builds: the library as it is installed, and the examples.
dist := $(target)/dist
examples := $(target)/examples-c

# One source for each fact.
version := $(shell sed -n 's/^version = "\(.*\)"/\1/p;/^version/q' Cargo.toml)
major := $(shell cat pkgconfig/soname)
private_libs := $(shell sed -n 's/^Libs.private: *//p' pkgconfig/pktring.pc.in)

soname := libpktring.so.$(major)
shared := $(dist)/libpktring.so.$(version)
archive := $(dist)/libpktring.a
map := pkgconfig/pktring.map

.PHONY: all demo examples test test-vm test-cross soak fuzz fuzz-search tsan clean need-cargo need-cc

all: $(shared) $(archive)

# Cargo knows best whether there is anything to do.
.PHONY: $(target)/release/libpktring.a
$(target)/release/libpktring.a: need-cargo
	$(CARGO) build --release --lib

$(archive): $(target)/release/libpktring.a
	@mkdir -p $(dist)
	@cmp -s $< $@ || cp $< $@

# Cargo's own shared library has no symbol versions: rustc passes the linker a version script
# that some linkers let win over ours without a word. So it is linked again, from the archive.
$(shared): $(archive) $(map) pkgconfig/soname pkgconfig/pktring.pc.in | need-cc
	$(CC) -shared -o $@ $(LDFLAGS) \
		-Wl,--whole-archive $(archive) -Wl,--no-whole-archive \
		-Wl,--gc-sections -Wl,-z,relro -Wl,-z,now -Wl,-z,defs \
		-Wl,--version-script=$(map) -Wl,--no-undefined-version \
		-Wl,-soname,$(soname) $(private_libs)
	ln -sf $(notdir $@) $(dist)/$(soname)
	ln -sf $(soname) $(dist)/libpktring.so

examples: all | need-cc
	$(MAKE) --no-print-directory -C c-examples OUT=$(abspath $(examples)) \
		PKTRING_CFLAGS="-I$(CURDIR)/include" \
		PKTRING_LIBS="-L$(abspath $(dist)) -lpktring -Wl,-rpath,$(abspath $(dist))"

ifdef IFACE
demo: examples
	$(examples)/demo -s $(SECONDS) -i $(IFACE)
else
demo: examples
	$(CARGO) build --quiet --package netns --bin netns-run
	@$(target)/debug/netns-run --veth tx0,rx0 -- $(examples)/demo -n $(FRAMES) tx0 rx0
endif

# The exit status of cargo goes down the pipe as a last line, because sh has no pipefail.
test: need-cargo need-cc
	@{ $(CARGO) test --workspace --no-fail-fast; echo "cargo ended with $$?"; } 2>&1 | \
		awk -f tests/tally.awk

# Options that the kernel is too old for, and hardware timestamps: tests/vm/run says what it needs.
test-vm: $(archive)
	KERNEL=$(KERNEL) tests/vm/run $(archive) $(target)/vm

# Programs of 32 bits, other processors, another byte order: tests/vm/cross says what it needs.
test-cross: need-cargo
	KERNEL=$(KERNEL) tests/vm/cross $(target)/cross $(MACHINES)

# Overload, held frames, link events in rotation; tests/soak.rs says what must hold.
MINUTES ?= 10
soak: need-cargo
	PKTRING_SOAK_MINUTES=$(MINUTES) $(CARGO) test --release --test soak -- --nocapture

# Fuzzing, with AddressSanitizer. RUSTC_BOOTSTRAP lets a stable compiler use it.
# Without what costs half of the time and finds what safe Rust does not allow.
FUZZ_TARGETS := receive calls
EXECUTIONS ?= 50000000
fuzz_asan := detect_stack_use_after_return=0:malloc_context_size=1:quarantine_size_mb=1
fuzz_bulk := RUSTC_BOOTSTRAP=1 ASAN_OPTIONS=$(fuzz_asan) CARGO_TARGET_DIR=$(abspath $(target))/fuzz \
	RUSTFLAGS="-Zsanitizer=address -Cdebug-assertions" $(CARGO) run --release --quiet \
	--manifest-path fuzz/Cargo.toml --no-default-features --bin bulk \
	--target $(shell rustc -vV | sed -n 's/^host: //p')

# EXECUTIONS inputs for each target, made from the corpus.
fuzz: need-cargo
	for target in $(FUZZ_TARGETS); do $(fuzz_bulk) -- $$target $(EXECUTIONS) || exit 1; done

# The search for inputs that reach new code, which wants cargo-fuzz and a C++ compiler.
fuzz-search: need-cargo
	for target in $(FUZZ_TARGETS); do RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --no-trace-compares \
		$$target -- -max_total_time=$(SECONDS) -max_len=160 || exit 1; done

# The standard library is built along, so that the sanitizer sees its locks and channels: with one
# that was built without, it takes what they guard for races. A race fails the run.
RUSTC ?= rustc
TSAN_TESTS := concurrency waiting holding
tsan: need-cargo
	@test -d "$$($(RUSTC) --print sysroot)/lib/rustlib/src/rust/library" || \
		{ echo "the standard library's source is needed: rustup component add rust-src" >&2; exit 1; }
	RUSTC="$(RUSTC)" RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$(abspath $(target))/tsan \
		CARGO_PROFILE_DEV_DEBUG=line-tables-only \
		RUSTFLAGS=-Zsanitizer=thread $(CARGO) test -Zbuild-std $(addprefix --test ,$(TSAN_TESTS)) \
		--target $(shell rustc -vV | sed -n 's/^host: //p')

clean:
	$(CARGO) clean

need-cargo:
	@command -v $(firstword $(CARGO)) >/dev/null || \
		{ echo "cargo is needed: install Rust, see https://rustup.rs" >&2; exit 1; }

need-cc:
	@command -v $(firstword $(CC)) >/dev/null || \
		{ echo "a C compiler is needed ($(firstword $(CC))): install gcc or clang, or set CC" >&2; exit 1; }

include pkgconfig/install.mk
include bench/bench.mk
