# Everything a contributor or a CI runs. One set of flags for all builds: a second set would compile every dependency again.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

export CGO_ENABLED := 0

PKG ?= ./...
TESTFLAGS ?= -vet=off -count=1 -timeout=30m
# Modules of their own, tested along with all of this one.
EXAMPLES := $(if $(filter ./...,$(PKG)),$(patsubst %/go.mod,%,$(wildcard examples/*/go.mod pkg/*/vendortest/go.mod internal/e2e/*/go.mod deploy/check/go.mod)))
TOOL := go tool -modfile=tools/go.mod
BUF := go tool -modfile=tools/buf/go.mod buf

# A line "##@ name" begins a group of the list.
.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  \033[1m%-13s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Try it

.PHONY: build
build: ## Build bin/tributary
	@go build -o bin/tributary ./cmd/tributary

.PHONY: run
run: build ## Run everything in one process with its data in ./data; Ctrl-C stops it
	@exec bin/tributary dev

##@ Before you commit

.PHONY: testenv
testenv:
	@go build -o bin/testenv ./cmd/testenv

# With a C compiler go test can also look for data races, in builds of their own. Every module is tested, also after one has failed.
define go_test
bin/testenv -- bash -euc 'failed=""; go test $(1) $(TESTFLAGS) $(PKG) || failed=" $(PKG)"; \
	for module in $(EXAMPLES); do go -C "$$module" test $(1) $(TESTFLAGS) ./... || failed="$$failed $$module"; done; \
	[ -z "$$failed" ] || { echo "make: tests failed in:$$failed"; exit 1; }'
endef

.PHONY: test
test: testenv ## Run all tests (PKG=./internal/... for some)
	@$(call go_test,)

.PHONY: test-fetched
test-fetched: testenv ## Run all tests on the fetched PostgreSQL, although one is installed
	@PG_NO_INSTALLED=1 $(call go_test,)

.PHONY: race
race: testenv ## Run all tests under the race detector, where there is a C compiler
	@if ! command -v "$$(go env CC | cut -d' ' -f1)" >/dev/null; then \
		echo "make race: skipped. The race detector needs a C compiler, and there is none: apt-get install gcc libc6-dev, or set CC."; \
	else \
		export CGO_ENABLED=1; $(call go_test,-race); \
	fi

.PHONY: generate
generate: ## Generate the code for SQL and protobuf
	@$(TOOL) sqlc generate -f db/sqlc.yaml
	@$(BUF) generate
	@$(TOOL) gofumpt -w pkg/events/v1/*.pb.go

# The state of the tree before and after, so that it works with uncommitted changes too.
tree_state = git status --porcelain -uall; git diff HEAD

.PHONY: verify
verify: ## Check that generated code is up to date and that messages stay compatible with main
	@before="$$($(tree_state))"; $(MAKE) generate; after="$$($(tree_state))"; \
	if [ "$$before" != "$$after" ]; then \
		diff <(echo "$$before") <(echo "$$after") || true; echo "make verify: generated code was out of date; commit what make generate wrote"; exit 1; \
	fi
	@$(TOOL) sqlc diff -f db/sqlc.yaml
	@$(BUF) lint
	@base="$$(git rev-parse -q --verify origin/main^0 || git rev-parse -q --verify main^0 || true)"; \
	if [ -z "$$base" ] || [ -z "$$(git ls-tree "$$base" -- buf.yaml pkg/events/v1)" ]; then \
		echo "buf breaking: skipped, there is no branch main with messages to compare with"; \
	else \
		old="$$(mktemp -d)"; trap 'rm -rf "$$old"' EXIT; \
		git archive "$$base" buf.yaml pkg/events | tar -x -C "$$old"; \
		$(BUF) breaking --against "$$old"; \
	fi

.PHONY: lint
lint: ## Check style and find likely bugs (the first time, compiles the linters for some minutes)
	@unformatted="$$(git ls-files -co --exclude-standard '*.go' | xargs -r ls 2>/dev/null | xargs -r $(TOOL) gofumpt -l)"; \
	if [ -n "$$unformatted" ]; then echo "make lint: run make fmt, for:"; echo "$$unformatted"; exit 1; fi
	@$(TOOL) golangci-lint run

.PHONY: fmt
fmt: ## Format all Go files, and put one sentence on a line in Markdown
	@git ls-files -co --exclude-standard '*.go' | xargs -r ls 2>/dev/null | xargs -r $(TOOL) gofumpt -w
	@go test -vet=off -count=1 -run '^TestSentences$$' . -rewrite

.PHONY: check-deploy
check-deploy: ## Check the Dockerfile, Compose file, manifests and alert rules without Docker
	@go -C deploy/check run .

##@ Long and heavy

.PHONY: chaos
chaos: testenv ## Kill processes at random for CHAOS_FOR (default 10m), then check that nothing was lost
	@CHAOS_FOR=$${CHAOS_FOR:-10m} bin/testenv -- go test -vet=off -count=1 -timeout=0 -v -run '^TestChaos' ./internal/e2e

# In the order of the commands below:
# - Real payloads of GitHub's pass through the whole sync path and arrive as webhooks, while everything on their way is
#   killed, Postgres is cut off, a NATS cluster loses leaders and servers, and a backup is restored. Eight processes share
#   one request budget. The demo upstream is compared with GitHub's description.
# - Every query is planned on a million rows.
# - Providers answer arbitrary values in every method of every contract, for 200 rounds.
.PHONY: prove
prove: testenv ## Run the long tests on real payloads and failing servers (fetches 500 MB with npm)
	@PROVE=1 TRIBUTARY_PROVE=1 bin/testenv -- go test -vet=off -count=1 -timeout=30m -v -run 'TestProve|TestRealPayloads|TestTheUpstreamKeeps' ./internal/e2e ./providers/github ./internal/budget
	@TRIBUTARY_PLAN_ROWS=1000000 bin/testenv -- go test -vet=off -count=1 -timeout=60m -run '^TestPlans$$' ./internal/postgres
	@TRIBUTARY_ANYTHING_ROUNDS=200 bin/testenv -- go test -vet=off -count=1 -timeout=60m -v -run '^TestAnything$$' ./internal/platform
	@$(MAKE) prove-upgrade prove-oauth

OLD ?= HEAD~50
.PHONY: prove-upgrade
prove-upgrade: testenv ## Kill processes of this tree and of OLD (default HEAD~50) side by side for CHAOS_FOR (default 2m)
	@tree=$$(mktemp -d); trap 'git worktree remove --force "$$tree"' EXIT; \
	git worktree add --quiet --detach "$$tree" $(OLD); \
	go -C "$$tree" test -vet=off -c -o bin/e2e.test ./internal/e2e; \
	CHAOS_BESIDE=$$tree/bin/e2e.test CHAOS_FOR=$${CHAOS_FOR:-2m} bin/testenv -- go test -vet=off -count=1 -timeout=0 -v -run '^TestChaos$$' ./internal/e2e

.PHONY: prove-oauth
prove-oauth: testenv ## Refresh tokens for PROVE_FOR (default 10m) against oidc-provider (fetches 20 MB with npm)
	@TRIBUTARY_PROVE_OAUTH=$${PROVE_FOR:-10m} bin/testenv -- go -C internal/e2e/oauth test -vet=off -count=1 -timeout=0 -v -run '^TestProve' ./...

.PHONY: bench
bench: ## Measure throughput, latency and memory beside other queues (BENCH="-rounds 5" passes flags)
	@go -C bench run . $(BENCH)
