# syntax=docker/dockerfile:1
# backout, the webhook receiver. Build in the root of the repository: docker build -t backout:0.1.0 .
# `make images` builds the same without Docker; a test holds the two together.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
ENV GOMODCACHE=/cache/mod GOCACHE=/cache/build
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/cache go mod download
COPY . .
ARG TARGETOS TARGETARCH
RUN --mount=type=cache,target=/cache \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -tags=nomsgpack -ldflags="-s -w" -o /out/backout .

# Nothing but the program and the authorities for HTTPS.
FROM scratch
LABEL org.opencontainers.image.title="backout"
LABEL org.opencontainers.image.description="Takes bad canaries out of the traffic and rolls their Helm releases back"
LABEL org.opencontainers.image.source="https://github.com/upcommerce/backout"
LABEL org.opencontainers.image.licenses="Apache-2.0"
LABEL org.opencontainers.image.version="0.1.0"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/backout /backout
# A number, so that runAsNonRoot can be checked without /etc/passwd.
USER 65532:65532
# Webhook; records, metrics and health.
EXPOSE 8080 9090
ENTRYPOINT ["/backout"]
