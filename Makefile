# Every target works in a fresh clone; Go downloads its dependencies. Nothing is built in parallel: two
# builds of Kubernetes at once are slower than one after the other.
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help build images test fast e2e sandbox faults lint docs fmt check demo upcommerce screenshots bench rules-power rules-engines lint-slow fuzz vuln

LINT := golangci-lint
# COMPILE builds programs into tests/.bin and shows how much is left. It needs nothing but the standard library.
COMPILE = export PROGRAMS_CURRENT=$$(date --utc +%FT%T.%NZ) && printf '   0s  compiling the compile command\n' >&2 && cd tests && go build -buildvcs=false -o .bin/compile ./env/cmd/compile && cd .. && tests/.bin/compile
TESTED := sandbox helm storefront backout then prometheus alertmanager kube-state-metrics inbox
HELM_DOCS := go tool -modfile=tools/go.mod helm-docs --chart-search-root charts/backout --log-level warning
# Type-checking these with all of Kubernetes takes gigabytes: only the linters that read one file at a time check them.
HEAVY := ./env/cmd/sandbox ./env/sandbox/controlplane/...
LIGHT := go list -f '{{.Dir}}' ./... | grep -vE '/(cmd/sandbox|controlplane|controlplane/.*)$$'
VMALERT := app envoy-gateway ingress-nginx istio linkerd traefik

FUZZTIME ?= 30s

# Programs that ship are built and checked with the toolchain that go.mod names, also where Go is set to use no other than its own.
SHIPPED := GOTOOLCHAIN=auto

# The version is the chart's; the commit is empty outside a clone, and ends in -dirty if files have changed.
VERSION := $(shell sed -n 's/^appVersion: *//p' charts/backout/Chart.yaml)
COMMIT = $(shell git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null)
BUILD := github.com/upcommerce/backout/internal/version
ON = $(if $(filter command,$(origin CONTEXT)),-context '$(CONTEXT)')

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## bin/backout and bin/storefront, static
	$(SHIPPED) CGO_ENABLED=0 go build -trimpath -tags=nomsgpack -ldflags='-s -w -X $(BUILD).version=$(VERSION) -X $(BUILD).commit=$(COMMIT)' -o bin/backout .
	$(SHIPPED) CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o bin/storefront ./app

images: ## bin/images: backout and the storefront as archives for minikube, kind and docker load; ARCH=arm64 for such nodes
	@cd tests/tools/images && go build -o ../../.bin/images . && exec ../../.bin/images -commit '$(COMMIT)' $(if $(ARCH),-arch $(ARCH))

test: fast e2e ## fast, then e2e

fast: ## tests that need no cluster
	go test ./...
	cd tests/tools/power && go test ./...
	cd tests/tools/engines && go test ./...

e2e: ## tests against a real Kubernetes in the sandbox; RUN=TestName runs one and prints its log
	@cd tests && go build -buildvcs=false -o .bin/suite ./tools/suite && exec .bin/suite $(if $(value RUN),-run '$(value RUN)')

sandbox: ## keep a control plane ready for the next make e2e RUN=TestName, until Ctrl-C
	@$(COMPILE) sandbox && exec tests/.bin/sandbox$(if $(KUBEBUILDER_ASSETS),-readymade) keep

faults: ## every fault: killed, frozen, cut off, raced; prints the table
	@$(COMPILE) $(TESTED)
	cd tests && FAULTS=all go test -count=1 -timeout 60m -v ./chaos

lint: ## golangci-lint of every module; make check adds what is slow
	go tool -modfile=tools/go.mod $(LINT) run
	cd tests && light=$$($(LIGHT)) && go tool -modfile=../tools/go.mod $(LINT) run $$light
	cd tests/tools/power && go tool -modfile=../../../tools/go.mod $(LINT) run
	cd tests/tools/images && go tool -modfile=../../../tools/go.mod $(LINT) run
	cd tests/tools/engines && go tool -modfile=../../../tools/go.mod $(LINT) run

lint-slow: ## golangci-lint of the control plane, go vet, tidy go.mod files, the chart's README
	cd tests && go tool -modfile=../tools/go.mod $(LINT) run --fast-only $(HEAVY)
	go vet ./...
	cd tests && go vet ./...
	cd tests/tools/power && go vet ./...
	cd tests/tools/images && go vet ./...
	cd tests/tools/engines && go vet ./...
	go mod tidy -diff
	cd tests && go mod tidy -diff
	cd tests/tools/power && go mod tidy -diff
	cd tests/tools/images && go mod tidy -diff
	cd tests/tools/engines && go mod tidy -diff
	cd tools && go mod tidy -diff
	$(HELM_DOCS) --dry-run | diff charts/backout/README.md -

fuzz: ## run each fuzz target of the root module for 30 seconds; FUZZTIME=5m for longer
	@go list -f '{{range .TestGoFiles}}{{$$.Dir}}/{{.}} {{end}}{{range .XTestGoFiles}}{{$$.Dir}}/{{.}} {{end}}' ./... | xargs grep -oH '^func Fuzz[A-Za-z0-9_]*' | \
	while IFS=: read -r file target; do \
		target=$${target#func }; package=$$(dirname "$$file"); echo "$$target in $${package#$(CURDIR)/}"; \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package" </dev/null || exit 1; \
	done

vuln: ## the known vulnerabilities that backout and the storefront reach: govulncheck with a pinned database
	@cd tests && go build -buildvcs=false -o .bin/vuln ./tools/vuln && cd .. && $(SHIPPED) exec tests/.bin/vuln . ./app

docs: ## write the generated parts of the documentation: tables, the chart's README
	UPDATE=1 go test ./internal/serve -run 'TestConfigurationPage|TestMetricsPage'
	UPDATE=1 go test ./charts -run TestReceiverRights
	cd tests && UPDATE=1 go test ./tools/upcommerce/exercise -run 'TestThePerformancePageHasTheSeconds|TestThePictureShowsTheSeconds'
	cd tests && UPDATE=1 go test -count=1 ./e2e/guide -run TestEveryBlockIsMarked
	cd tests && UPDATE=1 go test -count=1 ./e2e/sandbox -run TestTheListOfParts
	$(HELM_DOCS)

fmt: ## format the Go code of both modules
	go tool -modfile=tools/go.mod $(LINT) fmt

check: lint lint-slow vuln test ## every check that a change has to pass

# A cluster is only chosen in the command itself, as in make demo CONTEXT=kind-kind: neither KUBECONFIG nor a variable CONTEXT of the
# shell is enough.
demo: ## the rollback of a bad canary, with a timeline; KEEP=1 leaves the sandbox open; CONTEXT=kind-kind: on that cluster
	@$(COMPILE) demo then $(if $(ON),helm,sandbox helm storefront ahead prometheus) && exec tests/.bin/demo $(ON)

upcommerce: ## the UpCommerce exercise from start to finish, on a sandbox or where UPCOMMERCE_URL is; writes answers.yml
	@$(COMPILE) upcommerce $(if $(UPCOMMERCE_URL),,then sandbox helm storefront backout then prometheus alertmanager kube-state-metrics) && exec tests/.bin/upcommerce answers.yml

screenshots: ## run the demo, and put pictures of its status page and dashboards into bin/screenshots and docs; needs Chromium
	@$(COMPILE) demo then sandbox helm storefront && SCREENSHOTS=$(CURDIR)/bin/screenshots tests/.bin/demo
	cp bin/screenshots/status-page.png bin/screenshots/dashboard-*.png docs/

bench: ## shed, rollback, growth and memory, compared with plain API calls and plain Helm; prints the table
	@$(COMPILE) $(TESTED)
	cd tests && go test -count=1 -timeout 10m -run '^$$' -bench . -benchtime 1x ./tools/bench

rules-power: ## false alarms and seconds to fire of the alert rules, compared with other rules; takes ten minutes
	@cd tests/tools/power && go build -o ../../.bin/power . && exec ../../.bin/power
	@$(MAKE) rules-engines

# Each engine is a module of its own, and needs the toolchain that it names.
rules-engines: ## the alert rules on VictoriaMetrics and Thanos, compared with Prometheus
	@cd tests/tools/power && go build -o ../../.bin/power . && ../../.bin/power -sample ../../.bin/sample.json
	@go build -tags=nomsgpack -o tests/.bin/backout-rules . && tests/.bin/backout-rules rules --engine thanos > tests/.bin/thanos.rules.yml
	@for preset in $(VMALERT); do tests/.bin/backout-rules rules --engine victoriametrics --preset $$preset > tests/.bin/vmalert-$$preset.rules.yml || exit 1; done
	@cd tests/tools/engines/victoriametrics && $(SHIPPED) go build -o ../../../.bin/engine-victoriametrics . && \
		../../../.bin/engine-victoriametrics -sample ../../../.bin/sample.json -rules ../../../.bin/vmalert-app.rules.yml -plain ../../../../rules/canary.rules.yml \
		$(VMALERT:%=../../../.bin/vmalert-%.rules.yml)
	@cd tests/tools/engines/thanos && $(SHIPPED) go build -o ../../../.bin/engine-thanos . && \
		../../../.bin/engine-thanos -sample ../../../.bin/sample.json -rules ../../../.bin/thanos.rules.yml
