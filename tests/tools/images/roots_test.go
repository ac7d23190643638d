package main

import (
	"crypto/x509"
	"encoding/pem"
	"testing"
)

func TestTheRootCertificatesAreUsable(t *testing.T) {
	text, err := authorities()
	if err != nil {
		t.Fatal(err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(text) {
		t.Fatal("the file contains no root certificate")
	}
	n := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			t.Errorf("root certificate %d cannot be parsed: %v", n, err)
		}
		n++
	}
	if n < 100 {
		t.Errorf("%d root certificates, but Mozilla trusts more than 100", n)
	}
}
