package main

import (
	"bytes"
	"encoding/pem"
	"fmt"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// rootsPath is the first place where Go looks for the system's authorities on Linux.
const rootsPath = "etc/ssl/certs/ca-certificates.crt"

// authorities returns Mozilla's, as the Go project publishes them: pinned by go.mod, and not those that the machine happens to trust. Those that are
// trusted only for certificates from before some day are left out, since PEM cannot say the day.
func authorities() ([]byte, error) {
	var text bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		if err := pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return nil, fmt.Errorf("write an authority as PEM: %w", err)
		}
	}
	return text.Bytes(), nil
}
