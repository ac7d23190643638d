# syntax=docker/dockerfile:1
# backout, the webhook receiver. Build it in the root of the repository: docker build -t backout:0.1.0 .
# With --build-arg COMMIT=$(git rev-parse HEAD), `backout version` and the metrics name the commit.
# `make images` builds the same image without Docker; a test compares the two.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
ENV GOMODCACHE=/cache/mod GOCACHE=/cache/build GOTOOLCHAIN=auto
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/cache go mod download
COPY . .
ARG TARGETOS TARGETARCH VERSION=0.1.0 COMMIT
RUN --mount=type=cache,target=/cache \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -tags=nomsgpack \
    -ldflags="-s -w -X github.com/upcommerce/backout/internal/version.version=$VERSION -X github.com/upcommerce/backout/internal/version.commit=$COMMIT" \
    -o /out/backout .

# Only the program and the CA certificates for HTTPS.
FROM scratch
LABEL org.opencontainers.image.title="backout"
LABEL org.opencontainers.image.description="Takes bad canaries out of rotation and rolls their Helm releases back"
LABEL org.opencontainers.image.source="https://github.com/upcommerce/backout"
LABEL org.opencontainers.image.licenses="Apache-2.0"
LABEL org.opencontainers.image.version="0.1.0"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/backout /backout
# Numeric, so that the kubelet can check runAsNonRoot without /etc/passwd.
USER 65532:65532
# The webhook; records, metrics and health.
EXPOSE 8080 9090
ENTRYPOINT ["/backout"]
