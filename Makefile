# SPDX-License-Identifier: MIT
#
# Builds and tests Neap.  `make help` lists the targets; plain `make` builds build/neap, which runs in place.
#
# Sources are found by wildcard, so a new file in src/ or a new test needs no change here.  Each variant keeps its
# objects apart, under build/<variant>/:
#     release   what is shipped (build/neap)           asan   address and undefined-behaviour sanitizers
#     cov       coverage counters                      fuzz   clang's libFuzzer, for tests/fuzz
# Settings: VARIANT=asan  CC=clang  WERROR=1 (warnings end the build)  V=1 (show commands)  PREFIX=  DESTDIR=

VERSION := $(shell sed -n 's/^return "\(.*\)"/\1/p' lua/neap/runtime/version.lua)
VARIANT ?= release
BUILD   ?= build
PREFIX  ?= /usr/local
B       := $(BUILD)/$(VARIANT)
Q       := $(if $(V),,@)
MAKEFLAGS += --no-print-directory

ifeq ($(VARIANT),fuzz)
override CC := clang
else ifeq ($(origin CC),default)
CC := gcc
endif

# --- Flags, grouped by why they are there ---------------------------------------------------------------------------

# An empty _GNU_SOURCE is what `#define _GNU_SOURCE` makes, so a file may still say it itself.
STD  := -std=gnu11 -D_GNU_SOURCE= -Isrc
WARN := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes -Wmissing-prototypes -Wvla \
        -Wpointer-arith -Wcast-qual
SAN  := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

# Hardening: a fixed stack guard, checked libc calls, position independence, and relocations that are read-only.
OPT_release := -O2 -g -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE
LD_release  := -pie -Wl,-z,relro,-z,now
# The hot path crosses files on purpose; the link inlines across them (clang would want another linker for that).
LTO         := $(if $(findstring clang,$(CC)),,-flto=auto)
OPT_release += $(LTO)
LD_release  += $(LTO) -O2
OPT_asan    := -O1 -g $(SAN) -DNEAP_CHECKS
LD_asan     := $(SAN)
OPT_cov     := -O0 -g --coverage
LD_cov      := --coverage
OPT_fuzz    := -O1 -g $(SAN) -fsanitize=fuzzer-no-link -DNEAP_CHECKS
LD_fuzz     := $(SAN)

# libev has no .pc file in Debian, and its llhttp comes as C source (package node-llhttp).  Library headers are system
# headers: their warnings are not ours.
PKGS   := libssl libcrypto zlib libdeflate lmdb luajit
PKGS   += $(shell pkg-config --exists libllhttp 2>/dev/null && echo libllhttp)
LLHTTP := $(if $(filter libllhttp,$(PKGS)),,$(wildcard /usr/share/llhttp/*.c))
INC    := $(patsubst -I%,-isystem %,$(shell pkg-config --cflags $(PKGS) 2>/dev/null)) \
          $(if $(LLHTTP),-isystem /usr/share/include/llhttp)
NOLUA  := -lev $(shell pkg-config --libs $(filter-out luajit,$(PKGS)) 2>/dev/null) -lm
LIBS   := $(NOLUA) $(shell pkg-config --libs luajit 2>/dev/null) -ldl

CPPFLAGS_ALL = $(STD) $(INC) $(CPPFLAGS)
CFLAGS_ALL   = $(CPPFLAGS_ALL) $(WARN) $(OPT_$(VARIANT)) $(CFLAGS)
LDFLAGS_ALL  = $(LD_$(VARIANT)) $(LDFLAGS)

# --- Sources --------------------------------------------------------------------------------------------------------

BIN      := $(if $(filter release,$(VARIANT)),$(BUILD)/neap,$(B)/neap)
OBJS     := $(patsubst %.c,$(B)/%.o,$(wildcard src/*.c src/*/*.c src/*/*/*.c))
LLOBJS   := $(patsubst /usr/share/llhttp/%.c,$(B)/llhttp/%.o,$(LLHTTP))
# What unit tests and fuzzers link: everything below Lua, the worker and the command line.
COREOBJS := $(filter-out $(addprefix $(B)/src/,main.o bind/% worker/% cli/%),$(OBJS)) $(LLOBJS)
CORE     := $(B)/libcore.a
UNITS    := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/*_test.c))
FUZZERS  := $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/fuzz_*.c))

.DEFAULT_GOAL := build
.DELETE_ON_ERROR:
.SECONDARY:

##@ Building
build: $(BIN) ## Build the program of VARIANT (default): build/neap, or build/<variant>/neap

$(BIN): $(OBJS) $(LLOBJS)
	@echo "  LD   $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

# The version is known to one object alone: NEAP_VERSION "0.1.0", NEAP_COMMIT "1a2b3c4" or "" outside a checkout.
COMMIT := $(shell git describe --always --dirty --exclude '*' 2>/dev/null)
DEFS   := -DNEAP_VERSION='"$(VERSION)"' -DNEAP_COMMIT='"$(COMMIT)"'
$(B)/src/cli/version.o: private CPPFLAGS += $(DEFS)
$(B)/src/cli/version.o: $(B)/version

$(B)/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	@echo "  CC   $<"
	$(Q)$(CC) $(CFLAGS_ALL) $(if $(WERROR),-Werror) -MMD -MP -c -o $@ $<

$(B)/llhttp/%.o: /usr/share/llhttp/%.c $(B)/flags
	@mkdir -p $(@D)
	@echo "  CC   $<"
	$(Q)$(CC) $(INC) $(OPT_$(VARIANT)) -w -c -o $@ $<

$(CORE): $(COREOBJS)
	$(Q)rm -f $@ && $(if $(findstring clang,$(CC)),ar,gcc-ar) rcs $@ $^

# Unit tests may make the n-th allocation fail: support.c has the wrappers.  Lua is not linked, which proves the layers.
$(B)/tests/unit/%_test: $(B)/tests/unit/%_test.o $(B)/tests/unit/support.o $(CORE)
	@echo "  LD   $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc -o $@ $^ $(NOLUA)

$(B)/tests/fuzz/fuzz_%: $(B)/tests/fuzz/fuzz_%.o $(CORE)
	@echo "  LD   $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer -o $@ $^ $(NOLUA)

# What is read straight into Lua values: these fuzzers alone link Lua.
$(B)/tests/fuzz/fuzz_json $(B)/tests/fuzz/fuzz_pack: private NOLUA := $(LIBS)
$(B)/tests/fuzz/fuzz_pack: $(B)/src/bind/data/lshared_pack.o
$(B)/tests/fuzz/fuzz_json: $(patsubst %.c,$(B)/%.o,$(wildcard src/bind/data/ljson*.c))

# Files that change only when what they hold changes, so that other flags or another commit rebuild what they must.
$(B)/flags: text = $(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL)
$(B)/version: text = $(VERSION) $(COMMIT)
$(B)/flags $(B)/version: FORCE
	@mkdir -p $(@D)
	@echo '$(text)' | cmp -s - $@ || echo '$(text)' > $@
FORCE:

-include $(OBJS:.o=.d) $(UNITS:=.d) $(FUZZERS:=.d) $(B)/tests/unit/support.d
units: $(UNITS)
fuzzers: $(FUZZERS) $(OBJS) # all objects, which shows that clang compiles everything
cflags:
	@echo $(CPPFLAGS_ALL) $(WARN) '$(subst ','\'',$(DEFS))'

##@ Running
PORT ?= 9090
run: ## Install what is missing (Debian, as root), build, and serve the chat app on PORT=9090
	@tests/setup build
	@$(MAKE) $(TWO) build
	@echo "Chat: ws://127.0.0.1:$(PORT)/chat/ROOM?nick=NICK  (Ctrl-C stops it). From two other windows, for instance with"
	@echo "Debian's python3-websockets, and then type:"
	@echo "    /usr/bin/python3 -m websockets 'ws://127.0.0.1:$(PORT)/chat/blue?nick=Ann'"
	@echo "    /usr/bin/python3 -m websockets 'ws://127.0.0.1:$(PORT)/chat/blue?nick=Bob'"
	@exec $(BUILD)/neap run apps/chat --workers auto -- $(PORT)

##@ Testing (each suite ends with "N passed, N failed")
SUITES := check unit spec conformance e2e clients fuzz guard
FUZZ_SECONDS ?= 8
LONG_SECONDS ?= 3600
TWO := $(if $(findstring j,$(firstword -$(MAKEFLAGS))),,-j2)
export FUZZ_SECONDS LONG_SECONDS BUILD

test: ## Install what is missing, build, and pass every suite
	@tests/setup test
	@$(MAKE) $(TWO) programs
	@$(MAKE) $(TWO) unit-programs
	@$(MAKE) $(TWO) fuzz-programs
	@tests/run $(SUITES)

# What the suites run; warnings are errors here.
programs:
	@$(MAKE) WERROR=1 VARIANT=release build
	@$(MAKE) WERROR=1 VARIANT=asan build
unit-programs:
	@$(MAKE) WERROR=1 VARIANT=asan units
fuzz-programs:
	@$(MAKE) WERROR=1 VARIANT=fuzz fuzzers

check: ## Format, lint, layers, licence lines, forbidden words, documentation coverage
unit: unit-programs ## Unit tests in C, under the sanitizers
spec: programs ## Specs in Lua (busted on LuaJIT), also those of the apps
conformance: programs ## RFC 6455, case by case, against the release and the sanitizer build
e2e: programs ## End-to-end, hostile-input and fault tests, against both builds
clients: programs ## Other people's WebSocket clients against the server
fuzz: fuzz-programs ## Every fuzz target for FUZZ_SECONDS=8, its corpus first
guard: programs ## Instructions, allocations and system calls a message, as in tests/guard/figures
$(SUITES):
	@tests/run $@
fuzz-%: fuzz-programs ## One fuzz target, e.g. make fuzz-frame FUZZ_SECONDS=1200
	@tests/run fuzz/$*

test-long: programs fuzz-programs ## What takes hours, and what `make test` leaves to it: LONG_SECONDS=3600
	@tests/run long
test-fresh: ## Run `make run` and `make test` in a minimal Debian 12 of its own (root, debootstrap)
	@tests/fresh
cover: ## Line coverage of src/ by unit, spec, conformance and e2e suites
	@$(MAKE) VARIANT=cov build units
	@tests/cover
bench: build ## Benchmarks against a bare epoll loop (tests/bench)
	@tests/bench/run

##@ Tending
format: ## Rewrite the C files in the house format
	@tests/checks/format --fix
lint: ## clang-tidy, cppcheck, luacheck, shellcheck, codespell
	@tests/checks/lint
metrics: ## Function and file lengths
	@tests/checks/metrics
setup: ## Install what building and testing need (Debian, as root)
	@tests/setup test

LUADIR := $(DESTDIR)$(PREFIX)/share/neap/lua
install: build ## Install the program and its Lua library under PREFIX=/usr/local
	install -D -m 755 $(BIN) $(DESTDIR)$(PREFIX)/bin/neap
	cd lua && find . -name '*.lua' -exec install -D -m 644 {} "$(abspath $(LUADIR))/{}" \;
uninstall: ## Remove what install put there
	rm -rf "$(DESTDIR)$(PREFIX)/bin/neap" "$(DESTDIR)$(PREFIX)/share/neap"
clean: ## Remove build/
	rm -rf $(BUILD)
help: ## List the targets
	@awk -F ':.*## ' '/^##@/ { print "\n" substr($$0, 5) } \
	     /^[a-z0-9%-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' Makefile

.PHONY: build units fuzzers cflags run test programs unit-programs fuzz-programs $(SUITES) test-long test-fresh cover \
        bench format lint metrics setup install uninstall clean help FORCE
