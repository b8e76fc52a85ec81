# libctoffload. The two commands a newcomer needs: `make run` and `make check`.

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
SOVERSION := 0
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR ?= $(PREFIX)/share/man
CC ?= cc
CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
LIB := $(TARGET)/lib
SO := $(LIB)/libctoffload.so.$(VERSION)
SYMBOLS := $(shell sed -n 's/^ *\([a-z_]*\);$$/\1/p' src/ffi/ctoffload.map)
CFLAGS ?= -O2 -g
CFLAGS += -std=c11 -Wall -Wextra -pedantic -Werror -Iinclude
LDLIBS := -L$(LIB) -lctoffload -Wl,-rpath,$(abspath $(LIB))

.PHONY: all lib run live check check-install install header examples c-tests clean tools

all: lib examples

# --- the library -----------------------------------------------------------------------------------
#
# Cargo cannot attach symbol versions to a shared library: rustc brings a version script of its own.
# So the static library is linked again, with ours: exactly the public names, versioned.

lib: $(SO)

# The compiler orders instructions for the processor that it is told; left alone it has one of 2011 in
# mind. So it is told of a later one, and all the instructions are taken back that not every x86-64 has:
# the library runs where it ran before, only faster. RUSTFLAGS of the caller's replace all this.
ifeq ($(shell uname -m)$(RUSTFLAGS),x86_64)
TUNING := -Ctarget-cpu=x86-64-v3 -Ctarget-feature=-avx,-avx2,-bmi1,-bmi2,-cmpxchg16b,-f16c,-fma$\
	,-lzcnt,-movbe,-popcnt,-sse3,-sse4.1,-sse4.2,-ssse3,-xsave
endif
features = $(shell rustc --print cfg $(1) | grep ^target_feature)

$(TARGET)/release/libctoffload.a: Cargo.toml Cargo.lock build.rs $(shell find src -name '*.rs')
	$(if $(subst $(features),,$(call features,$(TUNING))),$(error TUNING is not the least x86-64))
	$(if $(RUSTFLAGS),,env -u RUSTFLAGS) $(CARGO) build --release --lib --config 'build.rustflags="$(TUNING)"'
	@touch $@

$(SO): $(TARGET)/release/libctoffload.a src/ffi/ctoffload.map
	@mkdir -p $(LIB)
	$(CC) -shared -o $@ -Wl,-soname,libctoffload.so.$(SOVERSION) \
	    -Wl,--version-script=src/ffi/ctoffload.map -Wl,--gc-sections \
	    -Wl,-z,relro,-z,now,-z,defs,-z,nodelete \
	    $(patsubst %,-Wl$(,)-u$(,)%,$(SYMBOLS)) $< -lgcc_s -lm -lc
	@ln -sf $(notdir $@) $(LIB)/libctoffload.so.$(SOVERSION)
	@ln -sf libctoffload.so.$(SOVERSION) $(LIB)/libctoffload.so

, := ,

header:
	CTOFFLOAD_WRITE_HEADER=1 $(CARGO) test --quiet --lib the_committed_header_is_current

# --- programs --------------------------------------------------------------------------------------

EXAMPLES := $(patsubst examples/%.c,$(TARGET)/examples/%,$(wildcard examples/*.c))

examples: $(EXAMPLES)

$(TARGET)/examples/%: examples/%.c include/ctoffload.h $(SO)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -o $@ $< $(LDLIBS)

run: lib examples
	$(TARGET)/examples/datapath $(wildcard c-tests/captures/*.pcap)

# --- checks ----------------------------------------------------------------------------------------

tools:
	.ci/tools

check: tools
	.ci/check

c-tests: lib
	$(MAKE) -C c-tests

# Real programs between network namespaces, with the example `nat` in the middle; needs root.
live: examples
	c-tests/live/run.sh $(TARGET)/examples/nat

# --- installation ----------------------------------------------------------------------------------

install: lib
	install -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(INCLUDEDIR) $(DESTDIR)$(MANDIR)/man3
	install -m 755 $(SO) $(DESTDIR)$(LIBDIR)/
	ln -sf libctoffload.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libctoffload.so.$(SOVERSION)
	ln -sf libctoffload.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/libctoffload.so
	install -m 644 $(TARGET)/release/libctoffload.a $(DESTDIR)$(LIBDIR)/
	install -m 644 include/ctoffload.h $(DESTDIR)$(INCLUDEDIR)/
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' \
	    -e 's|@VERSION@|$(VERSION)|' src/ffi/ctoffload.pc.in \
	    > $(DESTDIR)$(LIBDIR)/pkgconfig/ctoffload.pc
	install -m 644 docs/man/ctoffload.3 $(DESTDIR)$(MANDIR)/man3/

# What a packager and then a user does: install into a folder, and build against what lies there.
STAGE := $(abspath $(TARGET))/stage
check-install: lib
	rm -rf $(STAGE)
	$(MAKE) --no-print-directory install DESTDIR= PREFIX=$(STAGE)
	PKG_CONFIG_PATH=$(STAGE)/lib/pkgconfig pkg-config --exact-version=$(VERSION) ctoffload
	flags="$$(PKG_CONFIG_PATH=$(STAGE)/lib/pkgconfig pkg-config --cflags --libs ctoffload)" && \
	    $(CC) -std=c11 -o $(STAGE)/minimal examples/minimal.c $$flags
	LD_LIBRARY_PATH=$(STAGE)/lib $(STAGE)/minimal | grep -qx '0x21 0x2a'
	test -z "$$(man --warnings -l $(STAGE)/share/man/man3/ctoffload.3 2>&1 >/dev/null)"

clean:
	$(CARGO) clean
	$(MAKE) -C c-tests clean

# --- comparisons -----------------------------------------------------------------------------------

include benches/compare/Makefile benches/instructions/Makefile benches/turns/Makefile c-tests/oracle/Makefile

# --- switches ---------------------------------------------------------------------------------------

include integrations/ovs/Makefile
