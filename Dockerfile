# syntax=docker/dockerfile:1
# backout, the webhook receiver. Build in the root of the repository: docker build -t backout .
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
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/backout /backout
# A number, so that runAsNonRoot can be checked without /etc/passwd.
USER 65532:65532
# Webhook; records, metrics and health.
EXPOSE 8080 9090
ENTRYPOINT ["/backout"]
