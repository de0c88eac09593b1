# evento: `make help` lists what there is.

GO ?= go
BIN := $(CURDIR)/.bin
GOLANGCI_VERSION := v2.15.0
GOVULNCHECK_VERSION := v1.9.0
APIDIFF_VERSION := v0.0.0-20261113113407-e3970619a1a4
# Modules of their own are bench and this one, which has a parser of MySQL.
GRAMMAR := executor/mysql/grammar
# And this one, which names the release of NATS that tests start.
NATS := internal/testserver/natsserver
# And this one, which drives a browser.
BROWSER := internal/browser
GOLANGCI := $(BIN)/golangci-lint-$(GOLANGCI_VERSION)
GOVULNCHECK := $(BIN)/govulncheck-$(GOVULNCHECK_VERSION)
APIDIFF := $(BIN)/apidiff-$(APIDIFF_VERSION)
# The grammar's test runs a contract for its statements alone, without the race
# detector: executor/mysql has it for the same contract.
# The race detector for all but SQLite's engine, which is C translated to Go, and
# takes three times as long with it. A connection that two goroutines use at once
# is still found, in the driver around the engine.
RACE := -race -gcflags=github.com/ncruces/go-sqlite3-wasm/...=-race=false
# It forgets what it knew of a large piece of memory by giving its own pages back
# to the system, and each is a page fault when it is used again: a third of the
# time of tests with large payloads. Written over instead, up to 1 GiB.
export GORACE ?= clear_shadow_mmap_threshold=1073741824
# They begin first, so that at the end no processor is idle while they run.
LONGEST := ./torture ./executor/jetstream ./executor/postgres ./executor/rw

# Those that compare a history with the log.
TORTURE := ^Test(Memory|SQLite|Pebble|Power|Postgres|MariaDB|JetStream|Mutants|UnknownOutcomes|Simulated)$$

.DEFAULT_GOAL := help

.PHONY: help
help: ## What the targets are for
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

.PHONY: test
test: ## All tests, with the race detector, on servers that it starts and stops
	EVENTO_SERVICES_BROWSER=1 .ci/services sh -c '$(GO) test $(RACE) -timeout 20m $(LONGEST) ./... && (cd $(GRAMMAR) && $(GO) test ./...) && cd $(BROWSER) && $(GO) test ./...'

.PHONY: services
services: ## A shell with private PostgreSQL, MariaDB and NATS servers in its environment
	EVENTO_SERVICES_NATS=1 .ci/services $${SHELL:-bash}

.PHONY: lint
lint: $(GOLANGCI) ## golangci-lint and go vet, on all modules
	$(GOLANGCI) run ./...
	cd bench && $(GO) vet ./...
	cd $(GRAMMAR) && $(GO) vet ./...
	cd $(BROWSER) && $(GO) vet ./...

$(GOLANGCI):
	GOBIN=$(BIN)/build $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv $(BIN)/build/golangci-lint $@

.PHONY: vuln
vuln: $(GOVULNCHECK) ## Known vulnerabilities in all modules (VULNFLAGS=--strict: in Go itself too)
	GOVULNCHECK=$(GOVULNCHECK) .ci/vuln $(VULNFLAGS)

$(GOVULNCHECK):
	GOBIN=$(BIN)/build $(GO) install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)
	mv $(BIN)/build/govulncheck $@

.PHONY: api
api: $(APIDIFF) ## What has changed in the public surface since the last tag, or FROM=revision
	APIDIFF=$(APIDIFF) .ci/api $(FROM)

$(APIDIFF):
	GOBIN=$(BIN)/build $(GO) install golang.org/x/exp/cmd/apidiff@$(APIDIFF_VERSION)
	mv $(BIN)/build/apidiff $@

.PHONY: tidy
tidy: ## Checks that go.mod and go.sum are tidy, in all modules
	$(GO) mod tidy -diff
	cd bench && $(GO) mod tidy -diff
	cd $(GRAMMAR) && $(GO) mod tidy -diff
	cd $(NATS) && $(GO) mod tidy -diff
	cd $(BROWSER) && $(GO) mod tidy -diff

.PHONY: docs
docs: ## Holds the documents against the code: links, names of tests, figures
	$(GO) test -count=1 ./docs

.PHONY: release
release: ## The checklist of a release, VERSION=v0.1.0; it changes nothing
	@.ci/release $(RELEASEFLAGS) $(VERSION)

.PHONY: screenshots
screenshots: ## The pictures of the console in docs/images, drawn by Chromium
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	$(GO) run ./examples/bank -db "$$dir/bank.db" apply examples/bank/testdata/statements.csv >/dev/null 2>&1; \
	cd $(BROWSER) && $(GO) run ./screenshots -to $(CURDIR)/docs/images "$$dir/bank.db"

.PHONY: generate
generate: ## Writes what is generated, here from the events of examples and tests
	$(GO) generate ./...

.PHONY: fmt
fmt: ## Formats the code
	gofmt -w $$(git ls-files '*.go')

.PHONY: torture-quick
torture-quick: ## Kills processes and servers for a minute, and compares what they saw with the log
	GO=$(GO) .ci/torture-quick '$(TORTURE)'

.PHONY: torture
torture: ## The same for long, as docs/promises.md has it (KILLS=200 FAULTS=50 FOR=300 seconds)
	.ci/torture $(or $(KILLS),200) $(or $(FAULTS),50) $(or $(FOR),300) '$(TORTURE)'

.PHONY: fuzz
fuzz: ## Fuzzes each fuzz test for a while (FUZZTIME=30s, KEEP=20 adds inputs to testdata)
	.ci/fuzz $(or $(FUZZTIME),30s) $(KEEP)

.PHONY: bench
bench: ## Compares with raw drivers and other libraries, and writes docs/benchmarks.md (ROUNDS=11)
	.ci/bench $(or $(ROUNDS),11)

.PHONY: northstar
northstar: ## Builds and runs the programs that fix the public surface, where they are at hand
	@if [ -x ../shared/northstar/check ]; then ../shared/northstar/check .; \
	else echo "northstar: the programs are not beside this checkout; left out"; fi

.PHONY: ci
ci: ## What continuous integration runs
	.ci/run
