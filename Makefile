# Every target works in a fresh clone; Go fetches what it needs. Nothing here builds in parallel: two
# builds of Kubernetes at once are slower than one after the other.
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help build images test fast e2e faults lint docs fmt check demo upcommerce screenshots bench rules-power warm

LINT := golangci-lint
HELM_DOCS := go tool -modfile=tools/go.mod helm-docs --chart-search-root charts/backout --log-level warning
# Type-checked together with all of Kubernetes, these two take 9 GB: they get the linters that read one file at a time.
HEAVY := ./cmd/sandbox ./sandbox/controlplane
LIGHT := go list -f '{{.Dir}}' ./... | grep -vE '/(cmd/sandbox|controlplane)$$'

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## bin/backout and bin/storefront, static
	CGO_ENABLED=0 go build -trimpath -tags=nomsgpack -ldflags='-s -w' -o bin/backout .
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o bin/storefront ./app

images: ## bin/images: backout and the storefront as archives for minikube, kind and docker load; ARCH=arm64 for such nodes
	@cd tests/images && go build -o ../.bin/images . && exec ../.bin/images $(if $(ARCH),-arch $(ARCH))

test: fast e2e ## fast, then e2e

fast: ## tests that need no cluster
	go test ./...
	cd tests/power && go test ./...

e2e: warm ## tests against a real Kubernetes in the sandbox, one package at a time; the images in containerd
	cd tests/images && go test -count=1 -timeout 20m -v ./...
	cd tests && go test -count=1 -p 1 -timeout 20m -v ./...

faults: warm ## every fault: killed, frozen, cut off, raced; prints the table
	cd tests && FAULTS=all go test -count=1 -timeout 60m -v ./faults

lint: warm ## golangci-lint, go vet and tidy go.mod files, of every module; the chart's README
	go tool -modfile=tools/go.mod $(LINT) run
	cd tests && light=$$($(LIGHT)) && go tool -modfile=../tools/go.mod $(LINT) run $$light
	cd tests && go tool -modfile=../tools/go.mod $(LINT) run --fast-only $(HEAVY)
	go vet ./...
	cd tests && go vet ./...
	go mod tidy -diff
	cd tests && go mod tidy -diff
	cd tests/power && go tool -modfile=../../tools/go.mod $(LINT) run
	cd tests/power && go vet ./...
	cd tests/power && go mod tidy -diff
	cd tests/images && go tool -modfile=../../tools/go.mod $(LINT) run
	cd tests/images && go vet ./...
	cd tests/images && go mod tidy -diff
	cd tools && go mod tidy -diff
	$(HELM_DOCS) --dry-run | diff charts/backout/README.md -

docs: ## write anew what is made from code: tables, the chart's README
	UPDATE=1 go test . -run 'TestReadmeConfiguration|TestMetricsTable'
	UPDATE=1 go test ./charts -run TestReceiverRights
	cd tests && UPDATE=1 go test ./upcommerce -run 'TestTheReadmeHasTheSeconds|TestThePictureShowsTheSeconds'
	cd tests && UPDATE=1 go test -count=1 ./page -run TestEveryBlockIsMarked
	$(HELM_DOCS)

fmt: ## format the Go code of both modules
	go tool -modfile=tools/go.mod $(LINT) fmt

check: lint test ## everything that a change has to pass

demo: warm ## a bad canary is rolled back before your eyes; KEEP=1 leaves it open
	@cd tests && go build -buildvcs=false -o .bin/demo ./cmd/demo && exec .bin/demo

upcommerce: $(if $(UPCOMMERCE_URL),,warm) ## the UpCommerce exercise from start to finish, on a sandbox or where UPCOMMERCE_URL is; writes answers.yml
	@cd tests && go build -buildvcs=false -o .bin/upcommerce ./cmd/upcommerce && exec .bin/upcommerce ../answers.yml

screenshots: warm ## play the demo, take pictures of its status page and draw its dashboards, into bin/screenshots; needs Chromium
	@cd tests && go build -buildvcs=false -o .bin/demo ./cmd/demo && SCREENSHOTS=$(CURDIR)/bin/screenshots .bin/demo
	cp bin/screenshots/status-page.png bin/screenshots/dashboard-*.png docs/

bench: warm ## shed, rollback, growth and memory beside the bare thing; prints the table
	cd tests && go test -count=1 -timeout 10m -run '^$$' -bench . -benchtime 1x ./bench

rules-power: ## how many healthy canaries the alert rules accuse, and how soon a bad one, beside others; ten minutes
	@cd tests/power && go build -o ../.bin/power . && exec ../.bin/power

# warm compiles the sandbox with all processors; `go test -p 1` would do it with one. The first time it names the
# packages as they get done, so that nobody takes it for a hang.
warm:
	@cd tests && if [ -x .bin/sandbox ]; then go build -buildvcs=false ./...; else \
		echo "The first build compiles Kubernetes: minutes, once."; \
		go build -buildvcs=false -v ./...; fi
