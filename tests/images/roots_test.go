package main

import (
	"crypto/x509"
	"encoding/pem"
	"testing"
)

func TestAuthorities(t *testing.T) {
	text, err := authorities()
	if err != nil {
		t.Fatal(err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(text) {
		t.Fatal("a client would find no authority in the file")
	}
	n := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			t.Errorf("authority %d cannot be read: %v", n, err)
		}
		n++
	}
	if n < 100 {
		t.Errorf("there are %d authorities, and Mozilla trusts more than 100", n)
	}
}
