package main

import (
	"bytes"
	"encoding/pem"
	"fmt"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// rootsPath is the first path at which Go looks for root certificates on Linux.
const rootsPath = "etc/ssl/certs/ca-certificates.crt"

// authorities returns Mozilla's root certificates as PEM. The Go project publishes them as a module, which go.mod pins; the machine's own are not used.
// Roots that are trusted only for certificates from before a certain day are left out, because PEM cannot contain the day.
func authorities() ([]byte, error) {
	var text bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		if err := pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return nil, fmt.Errorf("encode a root certificate as PEM: %w", err)
		}
	}
	return text.Bytes(), nil
}
