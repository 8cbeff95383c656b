# What a developer does by name. `make` alone lists it.
# All of it needs Go. `make demo` and `make test` get what else is missing, and say so:
# on Debian as root they install it; elsewhere they do without, or say what to install.

GO ?= go
FUZZTIME ?= 1m
PROGRAMS := revalidator applesim devstack

.DEFAULT_GOAL := help
.PHONY: help build $(PROGRAMS) test binary model docs lint fuzz interop demo simulate bench faults soak clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: $(PROGRAMS) ## build the programs into bin/

$(PROGRAMS):
	$(GO) build -trimpath -o bin/$@ ./cmd/$@

test: ## run every test next to a throw-away Postgres and Redis
	$(GO) run ./cmd/devstack --install -- $(GO) test -race -shuffle=on -timeout 20m ./...

binary: revalidator ## run the tests of the command line with the built program
	REVALIDATOR_TEST_BINARY=$(CURDIR)/bin/revalidator $(GO) run ./cmd/devstack -- $(GO) test -count=1 ./cmd/revalidator

model: ## visit every interleaving of the claim protocol, within bounds
	$(GO) test -count=1 -v -run '^TestExplore$$' ./internal/dev/model -full

lint: ## check format, go vet and staticcheck; silent where all is well
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not gofmt'ed:"; echo "$$unformatted"; exit 1; fi
	@$(GO) vet ./...
	@$(GO) tool staticcheck ./...

# The tests named TestDocs fail where a document is stale.
docs: ## write the parts of docs/ again that come from the program
	REVALIDATOR_TEST_UPDATE_DOCS=1 $(GO) run ./cmd/devstack -- $(GO) test -count=1 -p 1 -run '^TestDocs' ./...

# Go fuzzes one target at a time. A found input stays in testdata/fuzz.
fuzz: ## fuzz each target for FUZZTIME (1m)
	@set -e; for package in $$($(GO) list ./...); do \
		targets=$$($(GO) test -list '^Fuzz' $$package); \
		for target in $$(echo "$$targets" | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$package; \
		done; \
	done

# Needs node and npm. The versions are those of the lock file.
interop: ## compare verdicts about signed payloads with those of Apple's own library
	cd internal/dev/interop && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	REVALIDATOR_INTEROP=1 $(GO) test -count=1 -v ./internal/dev/interop

# FAULTS=-short is a minute of it; see go run ./cmd/faults -h.
faults: ## attack whole installations, and exit 1 where anything is lost or wrong
	$(GO) run ./cmd/faults $(FAULTS)

soak: ## 100,000 checks in five nights of random faults
	$(GO) run ./cmd/faults -soak 20000 $(FAULTS)

demo: ## show a nightly run against a simulated App Store (ONCE=1: end after it)
	@$(GO) build -trimpath -o bin/demo ./cmd/demo
	@bin/demo

simulate: ## compare policies of when to look at a receipt (CHECK=1: fail where a target is missed)
	$(GO) run ./cmd/simulate $(if $(CHECK),-check) $(SIMULATE)

# With CHECK=1 it fails where a target is missed. ONLY=small,large,feed,import,pages,runs,rate,
# signatures chooses parts, ROWS=1000000 makes the largest table smaller, QUICK=1 everything.
# RUNS=3 takes medians. OUT=FILE keeps the results; BASE=FILE compares with kept ones,
# of the commit before, and fails where a row is more than 10 % worse.
bench: ## measure this machine against a simple loop, and print a table of ratios
	$(GO) run ./cmd/bench

clean: ## remove what the other targets built
	rm -rf bin coverage.out
